"""The mode and the time of a file that arrives; in an opened folder that nobody else can enter."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime

from asynchy.localfs.safe_tree import is_about_one_file
from asynchy.model.file_times import MAX_TIME_TOLERANCE, is_last_of_32_bits, is_time

_TIME_REFUSED = "the file system at home refuses its time (`compare: size` does without it)"
_MODE_REFUSED = "the file system at home refuses its mode (`modes: umask` does without it)"


def set_mode(folder: int, name: str | bytes, mode: int, *, needed: bool) -> None:
    """Give a file a mode; if that is refused and not needed, it keeps its own.

    Raises:
        OSError: it is refused and needed.
    """
    if stat.S_IMODE(os.stat(name, dir_fd=folder).st_mode) == mode:
        return
    try:
        os.chmod(name, mode, dir_fd=folder)
    except OSError as error:
        if not is_about_one_file(error):
            raise
        if needed:
            raise OSError(errno.EOPNOTSUPP, _MODE_REFUSED) from None


def dated(folder: int, name: str | bytes, modified: int) -> int | None:
    """Give a file a time, if it is known; the time that it then has, in seconds; None: refused."""
    file_stat = os.stat(name, dir_fd=folder)
    if not is_time(file_stat, modified):
        try:
            os.utime(name, (modified, modified), dir_fd=folder)
        except OSError as error:
            if not is_about_one_file(error):
                raise
            return None
        file_stat = os.stat(name, dir_fd=folder)
    return file_stat.st_mtime_ns // 1_000_000_000


class TimeNotHeld(OSError):
    """A file is in its place, without its time."""


def time_not_held(modified: int, at_home: int | None) -> TimeNotHeld:
    """The error if the file system at home changes or refuses a time, with its hint."""
    if at_home is None:
        return TimeNotHeld(errno.EOPNOTSUPP, _TIME_REFUSED)
    tolerance = 2 if is_last_of_32_bits(at_home, modified) else max(2, abs(at_home - modified))
    became = f"{_time_text(modified)} became {_time_text(at_home)}"
    message = f"the file system at home cannot hold its time ({became})"
    hint = "`compare: size` does without it"
    if tolerance <= MAX_TIME_TOLERANCE:
        hint = f"allow for it with `time-tolerance: {tolerance}`, or with `compare: size`"
    return TimeNotHeld(errno.EOPNOTSUPP, f"{message}; {hint}")


def _time_text(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # out of the range of datetime
        return f"{seconds} seconds since 1970"
