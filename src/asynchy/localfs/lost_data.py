"""Finds data that a file has lost to zeros, as storage does that lost a sector or a stripe."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from asynchy.model import heartbeat

_SECTOR_BYTES = 512
"""The smallest part that storage loses. Shorter runs of zeros are in ordinary data."""
_BLOCK_BYTES = 1 << 20
_ZEROS = bytes(_SECTOR_BYTES)
_ZERO_RUN = re.compile(rb"\0*")


def has_lost_data(descriptor: int, earlier: int, size: int) -> bool:
    """Whether a file has zeros where an earlier version of it has something else.

    All bytes up to `size` count, wherever a run of zeros begins. One of fewer than 512 bytes counts
    if it is all that the last, shorter sector has.

    Raises:
        OSError: one of the two cannot be read, or is shorter than `size`.
    """
    last_sector = (size - 1) // _SECTOR_BYTES * _SECTOR_BYTES
    return any(
        _has_data(earlier, start, end)
        for start, end in _zero_runs(descriptor, size)
        if end - start >= _SECTOR_BYTES or (end == size and start <= last_sector)
    )


def _zero_runs(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where zeros begin and end: runs of 512 bytes or more, and any at the ends of blocks."""
    pending: int | None = None
    """Where a run began that reaches the end of the block before."""
    for offset in range(0, size, _BLOCK_BYTES):
        heartbeat.beat()
        block = _read(descriptor, min(_BLOCK_BYTES, size - offset), offset)
        position = _run_end(block, 0) if pending is not None else 0
        if pending is not None and position == len(block):
            continue
        if pending is not None:
            yield pending, offset + position
            pending = None
        while (start := block.find(_ZEROS, position)) >= 0:
            position = _run_end(block, start)
            if position < len(block):
                yield offset + start, offset + position
        trailing = len(block) - len(block.rstrip(b"\0"))
        pending = offset + len(block) - trailing if trailing else None
    if pending is not None:
        yield pending, size


def _read(descriptor: int, length: int, offset: int) -> bytes:
    data = b""
    while len(data) < length:  # a network file system may give less than was asked for
        part = os.pread(descriptor, length - len(data), offset + len(data))
        if not part:
            raise OSError(errno.EIO, "it became shorter while it was read")
        data += part
    return data


def _run_end(block: bytes, start: int) -> int:
    match = _ZERO_RUN.match(block, start)
    return match.end() if match else start


def _has_data(descriptor: int, start: int, end: int) -> bool:
    for offset in range(start, end, _BLOCK_BYTES):
        heartbeat.beat()
        if any(_read(descriptor, min(_BLOCK_BYTES, end - offset), offset)):
            return True
    return False
