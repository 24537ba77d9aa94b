"""The times of files: in whole seconds, since SFTP (version 3) has no more."""

from __future__ import annotations

import os

TIME_UNKNOWN = -(1 << 62)
"""Stands for the time of a file that the server does not report; no file has that one.

SFTP (version 3) has times of 32 bits without a sign: none before 1970 or after 2106.
"""

MAX_TIME_TOLERANCE = 86_400  # seconds
"""Seconds by which times may differ at most: `time-tolerance`."""
_tolerance = 0  # seconds
_MAX_32_BIT_TIME = (1 << 31) - 1  # seconds since 1970


def tolerate(seconds: int) -> None:
    """Treat times that differ by up to `seconds` as equal, in this process, from now on.

    With any number, the last time of file systems with 32 bits stands for every later one, too.

    It is about the file systems at home, so it holds for every comparison alike: `time-tolerance`.
    """
    global _tolerance  # noqa: PLW0603
    _tolerance = seconds


def tolerated() -> int:
    """By how many seconds times may differ that count as the same."""
    return _tolerance


def is_time(found: os.stat_result, modified: int) -> bool:
    """Whether what was found at home has a time, or that time is not known."""
    return same_time(found.st_mtime_ns // 1_000_000_000, modified)


def same_time(at_home: int, modified: int) -> bool:
    """Whether a time at home equals the reported one, or that is unknown; in seconds."""
    if modified in (at_home, TIME_UNKNOWN):
        return True
    if not _tolerance:
        return False
    return abs(at_home - modified) <= _tolerance or is_last_of_32_bits(at_home, modified)


def is_last_of_32_bits(at_home: int, modified: int) -> bool:
    """Whether a time is the last that XFS without bigtime can hold, in place of a later one."""
    return at_home == _MAX_32_BIT_TIME < modified


def is_told_by_sftp(modified: int) -> bool:
    """Whether SFTP (version 3) can represent a time."""
    return 0 <= modified < 1 << 32
