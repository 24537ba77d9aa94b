"""What a path names that is not a file: opening some of these waits for ever."""

from __future__ import annotations

import stat

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def other_kind(mode: int) -> str | None:
    """What it is by its `st_mode`, such as `a folder`; None: a file."""
    return next((what for is_one, what in _KINDS if is_one(mode)), None)
