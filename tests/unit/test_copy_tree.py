"""Files that take the place of others at home."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.localfs import copy_tree
from asynchy.localfs.copy_tree import CopyTree, make_folders
from asynchy.localfs.kept_files import UNREPORTED, KeptFolder, remove_if_empty
from asynchy.localfs.safe_tree import SafeTree
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Entry, EntryKind, Experiment
from asynchy.model.file_modes import Modes, Rule
from asynchy.model.file_times import TIME_UNKNOWN, tolerate


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    project = tmp_path / "ny79"
    project.mkdir()
    found = Copy(
        Experiment("mx", Epn("12282a")), "ny79", "/data/mx/12282a", project,
        project / "12282a" / "data",
    )  # fmt: skip
    make_folders(found)
    (found.destination / "frames").mkdir()
    (found.destination / "frames" / "a.h5").write_text("old")
    return found


def entry(
    path: bytes, mode: int = 0o644, modified: int = 1_700_000_001, kind: EntryKind = EntryKind.FILE
) -> Entry:
    return Entry(kind, path, 3, modified, mode)


def placed(copy: Copy) -> dict[str, str]:
    """Put a newer file in its place; what is kept then, by path."""
    kept = copy.destination.with_name("data.asynchy-replaced") / "20261124T120000Z"
    with Scratch(copy) as scratch, CopyTree(copy, kept) as tree:
        (scratch.path / "0-1").write_text("new")
        tree.place(scratch.descriptor, "0-1", entry(b"frames/a.h5"))
        assert not (scratch.path / "0-1").exists()
    return {
        str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("exchange", [True, False])
def test_what_is_replaced_is_kept_once(
    copy: Copy, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(copy_tree, "_renameat2", None)
    assert placed(copy) == {"frames/a.h5": "old"}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"


def test_what_a_person_saves_while_it_is_replaced_is_kept_too(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = KeptFolder.link

    def link_and_save(self: KeptFolder, tree: SafeTree, path: bytes) -> int | None:
        linked = link(self, tree, path)
        saved = copy.destination / "frames" / "saved"
        saved.write_text("a week of work")
        saved.replace(copy.destination / "frames" / "a.h5")
        return linked

    monkeypatch.setattr(KeptFolder, "link", link_and_save)
    assert placed(copy) == {"frames/a.h5": "old", "frames/a.h5.2": "a week of work"}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"


def test_a_file_that_is_new_at_home_needs_nothing_kept(copy: Copy) -> None:
    (copy.destination / "frames" / "a.h5").unlink()
    assert placed(copy) == {}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"


@pytest.mark.parametrize(
    ("rule", "files", "folders"),
    [
        ("group-shared", {0: 0o620, 0o40: 0o660, 0o755: 0o774, 0o4607: 0o734}, {0o70: 0o2770}),
        ("source", {0: 0o600, 0o40: 0o640, 0o755: 0o755, 0o4607: 0o607}, {0o70: 0o770, 0: 0o700}),
        ("umask", {0: 0o600, 0o40: 0o640, 0o777: 0o750, 0o4607: 0o600}, {0o77: 0o750}),
    ],
)
def test_what_arrives_is_its_owners_to_read_and_write_whatever_its_mode_was(
    copy: Copy, rule: Rule, files: dict[int, int], folders: dict[int, int]
) -> None:
    with Scratch(copy) as scratch, CopyTree(copy, scratch.path, Modes(rule, 0o027)) as tree:
        for mode, wanted in files.items():
            (scratch.path / "0-1").write_text("new")
            (scratch.path / "0-1").chmod(0o111)
            tree.place(scratch.descriptor, "0-1", entry(b"new", mode))
            assert oct(stat.S_IMODE((copy.destination / "new").stat().st_mode)) == oct(wanted)
            (copy.destination / "new").unlink()
        for mode, wanted in folders.items():
            tree.make_folder(entry(b"folder", mode, kind=EntryKind.FOLDER))
            made = copy.destination / "folder"
            assert oct(stat.S_IMODE(made.stat().st_mode)) == oct(wanted)
            made.chmod(0o500)  # a person's, from then on
            tree.make_folder(entry(b"folder", mode, kind=EntryKind.FOLDER))
            assert stat.S_IMODE(made.stat().st_mode) == 0o500
            made.chmod(0o3700)  # as it is if asynchy is killed at that moment
            tree.make_folder(entry(b"folder", mode, kind=EntryKind.FOLDER))
            assert oct(stat.S_IMODE(made.stat().st_mode)) == oct(wanted)
            made.rmdir()


def test_a_time_that_home_cannot_hold_is_told_once_the_file_is_in_its_place(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def even(name: str, times: tuple[int, int], dir_fd: int) -> None:
        utime(name, tuple(time // 2 * 2 for time in times), dir_fd=dir_fd)

    monkeypatch.setattr(os, "utime", even)
    with Scratch(copy) as scratch, CopyTree(copy, scratch.path) as tree:

        def place(modified: int) -> int:
            (scratch.path / "0-1").write_text("new")
            tree.place(scratch.descriptor, "0-1", entry(b"new", modified=modified))
            return (copy.destination / "new").stat().st_mtime_ns // 10**9

        assert place(1_700_000_002) == 1_700_000_002
        with pytest.raises(OSError, match=r"cannot hold its time .*time-tolerance: 2"):
            place(1_700_000_003)
        assert (copy.destination / "new").stat().st_mtime_ns // 10**9 == 1_700_000_002
        assert scratch.time_at_home(1_700_000_005) == 1_700_000_004
        assert not (scratch.path / ".asynchy-probe").exists()
        now = place(TIME_UNKNOWN)
        assert now > 1_700_000_003
        tolerate(1)
        try:
            assert place(1_700_000_003) == 1_700_000_002
        finally:
            tolerate(0)


def test_folders_without_a_file_that_a_run_left_beside_a_copy_are_removed(copy: Copy) -> None:
    beside = copy.destination.with_name("data.asynchy-replaced")
    for name in ("full", "empty"):
        (beside / f"20261124T140500Z-{name}" / "a" / "b").mkdir(parents=True)
    run = beside / f"20261124T140600Z{UNREPORTED}"
    (run / "a" / "b").mkdir(parents=True)
    (run / "c").mkdir()
    (run / "c" / "kept").write_text("kept")
    remove_if_empty(copy, run)
    assert [path.name for path in run.rglob("*")] == ["c", "kept"]
    (run / "c" / "kept").unlink()
    remove_if_empty(copy, run)
    remove_if_empty(copy, run)
    assert not run.exists() and beside.exists()


@pytest.mark.parametrize("rule", ["group-shared", "umask"])
def test_a_mode_that_home_refuses_keeps_the_file_away_unless_the_umask_is_enough(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    def refuse(*_: object, **_kept: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    copy = replace(copy, destination=copy.destination.with_name("new") / "data")
    make_folders(copy)
    with Scratch(copy) as scratch, CopyTree(copy, scratch.path, Modes(rule, 0o027)) as tree:
        (scratch.path / "0-1").write_text("new")
        if rule == "umask":
            tree.place(scratch.descriptor, "0-1", entry(b"new"))
        else:
            with pytest.raises(OSError, match=r"refuses its mode .*modes: umask"):
                tree.place(scratch.descriptor, "0-1", entry(b"new"))
    assert (copy.destination / "new").exists() == (rule == "umask")


def test_folder_that_became_a_link_is_named_with_its_path(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "frames").mkdir(parents=True)
    (root / "frames" / "linked").symlink_to(tmp_path)
    with SafeTree(root) as tree:
        assert tree.find(b"frames/linked/s/a.h5") is None
        with pytest.raises(
            NotADirectoryError, match="a symbolic link or a file is in the way"
        ) as e:
            tree.open(b"frames/linked/s/a.h5")
    assert e.value.filename == os.fsencode(root / "frames" / "linked")
