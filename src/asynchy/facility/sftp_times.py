"""Whether a time that SFTP reports is the file's. Pure.

SFTP (version 3) has times of 32 bits without a sign, and a server truncates others: 1969 becomes
2106, 2150 becomes 2014. OpenSSH and others report the time a second time, in the line that `ls -l`
would print: with the year, or with hours and minutes if it is less than half a year ago.
"""

from __future__ import annotations

from asynchy.model.file_times import TIME_UNKNOWN

_SECONDS_PER_YEAR = 31_556_952
"""Seconds."""
_YEARS = [
    frozenset(b"%d" % year for year in range(1969 + passed, 1972 + passed))
    for passed in range((1 << 32) // _SECONDS_PER_YEAR + 1)
]
"""By years since 1970 the year itself and its neighbours, whatever the time zone."""


def told_time(modified: int, name: bytes, line: bytes, now: float) -> int:
    """The time of a file in seconds since 1970; `TIME_UNKNOWN` if the line has another one.

    A line of another form is ignored. One without a date is of a year without four digits.
    """
    if line.endswith(b"  " + name):  # OpenSSH's ls_file
        return TIME_UNKNOWN
    end = len(line) - len(name)
    tail = line[end - 5 : end - 1]
    if tail in _YEARS[modified // _SECONDS_PER_YEAR]:
        return modified
    is_young = tail[1:2] == b":"
    if is_young and modified >= now - _SECONDS_PER_YEAR:
        return modified
    is_other = (is_young or tail.isdigit()) and line.endswith(b" " + name)
    return TIME_UNKNOWN if is_other else modified
