"""Read a file that people write: a limited number of bytes, without ever waiting for long."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from asynchy.model.file_kind import other_kind

_MOST = 4_000_000
"""Bytes; an `ignore.yml` of 100,000 EPNs, each with a remark, has 2 million."""
_WAIT = 4.0
"""Seconds for what comes through a pipe, as from `--config <(decrypt config.yml)`."""
_CHUNK = 1 << 16


class UnusableFile(ValueError):
    """What it names cannot be a file that people write; the message says why."""


def read_text(path: Path, *, pipe: bool = False, any_line_ends: bool = False) -> str:
    """The text of a file, or, if that is allowed, of a pipe; lines end with a line feed.

    With `any_line_ends`, they end as they do in the file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8.
        UnusableFile: it is a device or a folder, too large, or a pipe that stays silent.
    """
    # Without O_NONBLOCK, a named pipe that nobody writes to would be waited for, for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        piped = pipe and stat.S_ISFIFO(mode)
        kind = other_kind(mode)
        if kind is not None and not piped:
            raise UnusableFile(f"{kind}, not a file")
        found = _read(descriptor, piped=piped)
    finally:
        os.close(descriptor)
    text = found.decode("utf-8")
    return text if any_line_ends else with_plain_line_ends(text)


def with_plain_line_ends(text: str) -> str:
    """The text with a line feed alone at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read(descriptor: int, *, piped: bool) -> bytes:
    found = bytearray()
    deadline = time.monotonic() + _WAIT
    while len(found) <= _MOST:
        left = max(0, deadline - time.monotonic())
        if piped and not select.select([descriptor], [], [], left)[0]:
            raise UnusableFile(f"a pipe that did not end within {_WAIT:.0f} s")
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return bytes(found)
        found += chunk
    raise UnusableFile(f"more than {_MOST:,} bytes")
