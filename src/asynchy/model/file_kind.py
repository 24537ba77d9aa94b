"""Kinds of entries that are not files: opening some of them blocks for ever."""

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
    """The kind by its `st_mode`, such as `a folder`; None: a file."""
    return next((kind for is_one, kind in _KINDS if is_one(mode)), None)
