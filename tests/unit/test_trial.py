"""What a file system refuses is found by trying it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asynchy.localfs.trial import refusals
from asynchy.model.file_modes import Modes, Rule
from asynchy.model.file_times import tolerate


def refuse(*_: object, **_kept: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def words(folder: Path, rule: Rule = "group-shared") -> list[str]:
    found = [reason for reason, to_do in refusals(folder, Modes(rule)) if to_do]
    assert list(folder.iterdir()) == []
    return found


def test_a_file_system_that_refuses_nothing_has_nothing_said_of_it(tmp_path: Path) -> None:
    assert words(tmp_path) == []
    tmp_path.chmod(0o500)
    if os.geteuid():
        (reason,) = words(tmp_path)
        assert reason == "no folder can be made in it: Permission denied"
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "reason"),
    [
        (Path, "rename", refuse, "a file cannot be renamed into another folder: Operation not"),
        (Path, "chmod", refuse, "a file cannot be given the mode 664: Operation not permitted"),
        (Path, "chmod", lambda *_: None, "a file cannot be given the mode 664: another one is set"),
    ],
)
def test_each_refusal_is_a_sentence_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: object, name: str, broken: Callable[..., None], reason: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(owner, name, broken)
    (found,) = words(tmp_path)
    assert found.startswith(reason)
    assert words(tmp_path, "umask") == ([found] if name == "rename" else [])


def test_a_file_system_without_times_is_named_unless_they_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "utime", refuse)
    assert list(refusals(tmp_path, Modes("umask"))) == [
        ("a file cannot be given a time: Operation not permitted", "set `compare: size`")
    ]
    assert list(refusals(tmp_path, Modes("umask"), size_only=True)) == []


def test_a_file_system_that_takes_no_byte_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_over_quota(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", is_over_quota)
    assert words(tmp_path) == ["no byte can be written to a file in it: Disk quota exceeded"]


def test_what_cannot_be_removed_is_named_by_its_path_and_all_else_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", refuse)
    ((reason, _),) = refusals(tmp_path, Modes("umask"))
    (left,) = tmp_path.iterdir()
    assert reason == (
        f"a test file or folder in it cannot be removed: {left}: Operation not permitted"
    )
    assert [path.relative_to(left) for path in left.rglob("*")] == [Path("two"), Path("two/file")]


def test_a_rename_that_is_refused_is_not_put_down_to_mergerfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "rename", refuse)
    ((_, to_do),) = refusals(tmp_path, Modes("umask"))
    assert "mergerfs" not in to_do


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (lambda at: at // 2 * 2, [("a file cannot be given an odd second", "time-tolerance: 2")]),
        (lambda _: 0, [("a file keeps another time than it is given", "set `compare: size`")]),
    ],
    ids=["FAT", "none"],
)
def test_one_fault_of_times_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    held: Callable[[int], int],
    found: list[tuple[str, str]],
) -> None:
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda path, times: utime(path, (held(times[1]),) * 2))
    told = list(refusals(tmp_path, Modes("umask")))
    assert len(told) == len(found)
    for (reason, to_do), (start, remedy) in zip(told, found, strict=True):
        assert reason.startswith(start) and remedy in to_do


def test_times_that_cannot_be_held_are_named_unless_they_are_allowed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def as_fat_on_old_xfs(path: Path, times: tuple[int, int]) -> None:
        at = min(times[1] // 2 * 2, (1 << 31) - 1)
        utime(path, (at, at))

    monkeypatch.setattr(os, "utime", as_fat_on_old_xfs)
    assert [found.partition(", such")[0] for found in words(tmp_path)] == [
        "a file cannot be given an odd second", "a file cannot be given a time after 2038",
    ]  # fmt: skip
    tolerate(2)
    try:
        assert words(tmp_path) == []
    finally:
        tolerate(0)
