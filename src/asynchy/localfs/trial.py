"""Tries the operations of a transfer once on a file of asynchy; nothing is left of it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asynchy.model.experiment import Entry, EntryKind
from asynchy.model.file_modes import Modes
from asynchy.model.file_times import is_time

_BYTES = bytes(4096)
_TIMES = {
    981_173_106: "a time",
    981_173_107: "an odd second, such as 2001-02-03 04:05:07",
    4_102_444_800: "a time after 2038, such as 2100-01-01 00:00:00",
}
"""Seconds since 1970 in UTC that some file systems cannot hold: FAT, and XFS without bigtime."""
_TO_DO = {
    errno.EROFS: "have it mounted for writing",
    errno.ENOSPC: "make room: space or inodes are used up",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EXDEV: "let one file system hold the copy; mergerfs: another policy for `create`",
}
Refusal = tuple[str, str]
"""An operation that the file system refuses, and the hint."""


def refusals(folder: Path, modes: Modes, *, size_only: bool = False) -> Iterator[Refusal]:
    """The operations of a transfer that the folder's file system refuses, such as a rename.

    `modes`: the permission bits for files. `size_only`: their times do not count.
    """
    try:
        trial = Path(tempfile.mkdtemp(prefix=".asynchy-trial-", dir=folder))
    except OSError as error:
        yield _refusal("no folder can be made in it", error)
        return
    try:
        results = list(_tried(trial, modes, size_only=size_only))
    finally:
        removal_error = _removed(trial)
    yield from results
    if removal_error is not None:
        text = f"a test file or folder in it cannot be removed: {trial}: {removal_error.strerror}"
        yield text, "let the user that runs asynchy remove files there, and remove it"


def _refusal(text: str, error: OSError) -> Refusal:
    to_do = _TO_DO.get(error.errno or 0, "see `dmesg`, and how it is mounted")
    return f"{text}: {error.strerror}", to_do


def _removed(trial: Path) -> OSError | None:
    """Remove what was made, as far as it can be; the first error."""
    first_error = None
    for name in ("one/file", "two/file", "one", "two", "."):
        path = trial / name
        try:
            path.unlink() if path.name == "file" else path.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            first_error = first_error or error
    return first_error


def _tried(trial: Path, modes: Modes, *, size_only: bool) -> Iterator[Refusal]:
    file = trial / "one" / "file"
    kind = "folder"
    try:
        for folder in (file.parent, trial / "two"):
            folder.mkdir()
        kind = "file"
        with file.open("wb") as stream:
            kind = ""
            stream.write(_BYTES)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        text = f"no {kind} can be made in it" if kind else "no byte can be written to a file in it"
        yield _refusal(text, error)
        return
    yield from _mode(file, modes)
    if not size_only:
        yield from _times(file)
    try:
        file.rename(trial / "two" / "file")
    except OSError as error:
        yield _refusal("a file cannot be renamed into another folder", error)


def _mode(file: Path, modes: Modes) -> Iterator[Refusal]:
    if modes.rule == "umask":  # nothing is refused that is needed
        return
    mode = modes.of(Entry(EntryKind.FILE, b"file", 0, 0, 0o644))
    try:
        file.chmod(mode)
        is_set = stat.S_IMODE(file.stat().st_mode) == mode
        reason = "another one is set"
    except OSError as error:
        is_set, reason = False, error.strerror or str(error)
    if not is_set:
        yield f"a file cannot be given the mode {mode:o}: {reason}", "set `modes: umask`"


def _times(file: Path) -> Iterator[Refusal]:
    for seconds, text in _TIMES.items():
        try:
            os.utime(file, (seconds, seconds))
        except OSError as error:
            yield f"a file cannot be given a time: {error.strerror}", "set `compare: size`"
            return
        if is_time(file.stat(), seconds):
            continue
        if seconds == min(_TIMES):
            yield "a file keeps another time than it is given", "set `compare: size`"
            return
        to_do = "set `time-tolerance: 2`, or `compare: size`"
        yield f"a file cannot be given {text}", to_do
