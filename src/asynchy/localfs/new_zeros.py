"""Whether a file lost data to zeros, compared with an earlier version of it.

Storage that fails gives zeros for sectors, pages or stripes that it has lost. So a run of at least
512 zero bytes counts, wherever it begins, if the earlier version has anything else in it; and the
last, shorter sector of a file, if all of it is zeros.
"""

from __future__ import annotations

import errno
import os

from asynchy.localfs.safe_tree import SafeTree
from asynchy.model import heartbeat

_SECTOR = 512  # bytes
_BLOCK = 2**20  # bytes
_ZEROS = bytes(_SECTOR)


def has_new_zeros(new: SafeTree, old: SafeTree, path: bytes, length: int) -> bool:
    """Whether the first `length` bytes of a file have zeros where an older version has data.

    Both are read whole, up to the first such place.

    Raises:
        OSError: one of them cannot be read, or has fewer bytes.
    """
    with (
        open(new.open(path), "rb", buffering=0) as new_file,  # noqa: PTH123
        open(old.open(path), "rb", buffering=0) as old_file,  # noqa: PTH123
    ):
        start = 0
        while start < length:
            heartbeat.beat()
            end = min(start + _BLOCK, length)
            new_block = _read(new_file.fileno(), start, end)
            old_block = _read(old_file.fileno(), start, end)
            if new_block != old_block and _has_zeroed(new_block, old_block, end == length):
                return True
            # The next one has the end of this, for a run of zeros that goes on in it.
            start = end if end == length else end - _SECTOR
    return False


def _read(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end:
        part = os.pread(descriptor, end - start, start)
        if not part:
            raise OSError(errno.EIO, "it became shorter while it was read")
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _has_zeroed(new: bytes, old: bytes, is_last: bool) -> bool:
    at = new.find(_ZEROS)
    while at >= 0:
        end = at + _SECTOR
        while new[end : end + _SECTOR] == _ZEROS:
            end += _SECTOR
        end += len(new[end : end + _SECTOR]) - len(new[end : end + _SECTOR].lstrip(b"\0"))
        if old[at:end].strip(b"\0"):
            return True
        at = new.find(_ZEROS, end)
    rest = len(new) % _SECTOR if is_last else 0  # blocks begin at whole sectors
    return bool(rest) and not new[-rest:].strip(b"\0") and bool(old[-rest:].strip(b"\0"))
