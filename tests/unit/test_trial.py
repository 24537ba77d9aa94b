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
        assert reason == "no file can be made in it: Permission denied"
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
