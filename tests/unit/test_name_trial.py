"""Names that the file system at home refuses, tried on files of ours."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynchy.localfs.name_trial import NameTrial
from asynchy.localfs.safe_tree import FOLDER

Refused = dict[bytes, int]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, FOLDER)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names that were tried; those with a colon are refused, as by NTFS."""
    names: list[bytes] = []
    made = NameTrial._make

    def make(trial: NameTrial, name: bytes) -> None:
        names.append(name)
        if b":" in name:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        made(trial, name)

    monkeypatch.setattr(NameTrial, "_make", make)
    return names


def test_name_that_is_too_long_is_refused_with_its_errno(scratch: int) -> None:
    assert NameTrial(scratch).refusal(b"x" * 256) == errno.ENAMETOOLONG
    assert NameTrial(scratch).refusal(b"x" * 255) is None
    assert os.listdir(scratch) == []


def test_plain_name_is_not_tried(scratch: int, tried: list[bytes]) -> None:
    for name in (b"frame_0001.cbf", b"-rf", b"x" * 128):
        assert NameTrial(scratch).refusal(name) is None
    assert tried == []


def test_kind_of_name_that_was_taken_is_tried_once(scratch: int, tried: list[bytes]) -> None:
    trial = NameTrial(scratch)
    assert {trial.refusal(b"frame %d.cbf" % n) for n in range(1000)} == {None}
    assert tried == [b"frame 0.cbf"]
    for other in (
        b"frame ",
        b" frame",
        b"frame.",
        b"a b" * 50,
        b"CON",
        b"aux.h5",
        b"\xff",
        b"(a b)",
    ):
        tried.clear()
        assert trial.refusal(other) is None
        assert tried == [other]


def test_each_name_of_a_kind_that_is_refused_is_tried(scratch: int, tried: list[bytes]) -> None:
    trial = NameTrial(scratch)
    names = [b"12:%d" % n for n in range(3)]
    assert [trial.refusal(name) for name in names] == [errno.EINVAL] * 3
    assert tried == names


def test_name_that_is_not_found_though_its_folder_is_there_is_refused(
    scratch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_exfat_fuse(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(NameTrial, "_make", as_exfat_fuse)
    assert NameTrial(scratch).refusal(b'"q"') == errno.EINVAL


def test_error_that_is_not_about_the_name_refuses_nothing(
    scratch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(NameTrial, "_make", fail)
    assert NameTrial(scratch).refusal(b"a b") is None


def test_folder_that_a_killed_run_left_is_used_and_removed(scratch: int, tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    assert NameTrial(scratch).refusal(b"a b") is None
    assert os.listdir(scratch) == []
