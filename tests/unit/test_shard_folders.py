"""Who may write for a shard, when hosts are given up for lost and go on all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from asynchy.engines.sftp import partial_files
from asynchy.localfs import shard_folders
from asynchy.localfs.shard_folders import SHARDS, ShardAttempt, ShardOver
from asynchy.model.experiment import Entry, EntryKind

ENTRY = Entry(EntryKind.FILE, b"image.sqfs", 10, 1_700_000_000, 0o640)


@dataclass
class Project:
    folder: Path
    scratch: Path
    descriptor: int

    def attempt(self, shard: str) -> ShardAttempt:
        return ShardAttempt(self.folder, self.scratch / SHARDS / shard)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    scratch = tmp_path / "ny79" / ".asynchy-data"
    scratch.mkdir(parents=True)
    descriptor = os.open(scratch, os.O_RDONLY)
    yield Project(tmp_path / "ny79", scratch, descriptor)
    os.close(descriptor)


def test_an_attempt_that_ended_by_itself_leaves_nothing_to_fear(project: Project) -> None:
    shard_folders.begin(project.descriptor, "a-1")
    with project.attempt("a-1") as attempt:
        (attempt.path / "1-1").write_bytes(b"on its way")
        attempt.flush([])
    assert shard_folders.end(project.descriptor, "a-1") is False
    assert not shard_folders.fence(project.descriptor)
    assert list(project.scratch.iterdir()) == []


def test_a_second_attempt_takes_the_right_from_the_first(project: Project) -> None:
    shard_folders.begin(project.descriptor, "a-1")
    with project.attempt("a-1") as first:
        folder = os.open(first.path, os.O_RDONLY)
        (first.path / "1-1").write_bytes(b"paused here")
        with project.attempt("a-1") as second:
            with pytest.raises(FileNotFoundError):  # as the first, which knows nothing, places it
                os.rename("1-1", project.folder / "data", src_dir_fd=folder)
            with pytest.raises(FileNotFoundError):
                os.open("1-2", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
            with pytest.raises(ShardOver):
                first.flush([])
            second.flush([])
        os.close(folder)
    assert shard_folders.end(project.descriptor, "a-1") is True


def test_no_attempt_begins_for_a_shard_that_is_over(project: Project) -> None:
    shard_folders.begin(project.descriptor, "a-1")
    shard_folders.end(project.descriptor, "a-1")
    with pytest.raises(ShardOver):
        project.attempt("a-1")


def test_a_host_that_does_not_see_the_folder_is_told_from_a_shard_that_is_over(
    project: Project, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        ShardAttempt(tmp_path / "not mounted", tmp_path / "not mounted" / "x" / SHARDS / "a-1")
    assert not isinstance(caught.value, ShardOver)


@pytest.mark.parametrize("left", ["an attempt", "an attempt that was taken over", "a shared file"])
def test_a_later_run_sees_that_a_host_may_still_write(project: Project, left: str) -> None:
    shard_folders.begin(project.descriptor, "a-1")
    first = project.attempt("a-1")
    if left != "an attempt":
        with project.attempt("a-1"):
            pass
    if left == "a shared file":
        assert shard_folders.end(project.descriptor, "a-1")
    assert shard_folders.fence(project.descriptor)
    assert not shard_folders.fence(project.descriptor)
    with pytest.raises(ShardOver):
        first.flush([])


def test_what_a_lost_host_still_writes_reaches_no_file_that_counts(project: Project) -> None:
    part = partial_files.begin(project.descriptor, ENTRY)
    shard_folders.begin(project.descriptor, "a-1")
    attempt = project.attempt("a-1")
    attempt.link(project.descriptor, [part.name])
    paused = os.open(attempt.path / part.name, os.O_WRONLY)
    os.pwrite(paused, b"01234", 0)
    part.note([(0, 5)])
    part.close()
    (found,) = partial_files.ours_alone(project.descriptor)
    assert found.extents == [(0, 5)]
    os.pwrite(paused, b"XXXXX", 0)  # the host goes on
    os.close(paused)
    assert (project.scratch / part.name).read_bytes() == b"01234"
    assert sorted(path.name for path in project.scratch.iterdir()) == [
        part.name,
        f"{part.name}.journal",
    ]
