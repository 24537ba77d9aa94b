"""What a transfer does to files at home, tried once on one of ours: nothing is left of it."""

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

_TIMES = {
    981_173_107: "an odd second, such as 2001-02-03 04:05:07",
    4_102_444_801: "a time after 2038, such as 2100-01-01 00:00:01",
}
"""Seconds since 1970 in UTC: what FAT, and what XFS without bigtime, cannot hold."""
_TO_DO = {
    errno.EROFS: "have it mounted for writing",
    errno.ENOSPC: "make room: space or inodes are used up",
    errno.EDQUOT: "make room, or raise the quota",
}
Refusal = tuple[str, str]
"""What the file system refuses, and what to do about it."""


def refusals(folder: Path, modes: Modes, *, size_only: bool = False) -> Iterator[Refusal]:
    """What the file system of a folder refuses of what a transfer does: a rename, a mode, a time.

    `modes`: the permission bits that files are to have. `size_only`: their times do not count.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".asynchy-trial-", dir=folder) as name:
            yield from _tried(Path(name), modes, size_only=size_only)
    except OSError as error:
        to_do = _TO_DO.get(error.errno or 0, "see `dmesg`, and how it is mounted")
        yield f"no file can be made in it: {error.strerror}", to_do


def _tried(folder: Path, modes: Modes, *, size_only: bool) -> Iterator[Refusal]:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    file = folder / "one" / "file"
    file.write_bytes(b"")
    yield from _mode(file, modes)
    if not size_only:
        yield from _times(file)
    try:
        file.rename(folder / "two" / "file")
    except OSError as error:
        to_do = "let one file system hold the copy; mergerfs: another policy for `create`"
        yield f"a file cannot be renamed into another folder: {error.strerror}", to_do


def _mode(file: Path, modes: Modes) -> Iterator[Refusal]:
    if modes.rule == "umask":  # nothing is refused that is needed
        return
    wanted = modes.of(Entry(EntryKind.FILE, b"file", 0, 0, 0o644))
    try:
        file.chmod(wanted)
        is_set = stat.S_IMODE(file.stat().st_mode) == wanted
        reason = "another one is set"
    except OSError as error:
        is_set, reason = False, error.strerror or str(error)
    if not is_set:
        yield f"a file cannot be given the mode {wanted:o}: {reason}", "set `modes: umask`"


def _times(file: Path) -> Iterator[Refusal]:
    for seconds, words in _TIMES.items():
        try:
            os.utime(file, (seconds, seconds))
        except OSError as error:
            yield f"a file cannot be given a time: {error.strerror}", "set `compare: size`"
            return
        if not is_time(file.stat(), seconds):
            to_do = "set `time-tolerance: 2`, or `compare: size`"
            yield f"a file cannot be given {words}", to_do
