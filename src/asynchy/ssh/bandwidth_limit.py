"""A limit on the bytes a second that all transfers of a user on this machine take together.

A file in shared memory holds the time until which the limit is used up. Each connection that wants
to receive bytes moves it on by what they take and waits until then, so that the connections of all
commands share one limit exactly. The monotonic clock is the same for all processes of a machine.

They take turns, and what is taken in a turn is the same for all: a connection that fetches small
files has as large a share as one that fetches large files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import tempfile
import time
from pathlib import Path

from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.ssh.server import Server

_TIME = struct.Struct("d")
_BURST_SECONDS = 0.1
"""Seconds of silence that may be made up for."""
_MAX_BYTES = 255 << 10
"""Bytes that are taken in a turn at most."""
_MIN_BYTES = 4096
"""Bytes that are taken in a turn at least."""
_TURN_SECONDS = 0.1
"""Seconds that a turn takes at most."""


def place_of(remote: Server, user: int) -> Path:
    """The file through which a user's connections to a server share their limit; it stays."""
    name = hashlib.sha256(f"{remote.host} {remote.port}".encode()).hexdigest()[:16]
    memory = Path("/dev/shm")  # noqa: S108 - of this user alone, and not a link
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"asynchy-pace-{user}-{name}"


class BandwidthLimit:
    """The limit as one connection sees it."""

    def __init__(self, path: Path, timetable: BandwidthTimetable) -> None:
        """`path`: see `place_of`."""
        self._timetable = timetable
        self._bytes_left = 0
        """Bytes that were taken and not used."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    @property
    def max_bytes(self) -> int | None:
        """Bytes to ask for at a time at most, as things are now; None: as many as you like."""
        limit = self._now()
        return None if limit is None else _turn(limit)

    def wait_for(self, count: int) -> float:
        """Take a number of bytes; the seconds to wait before they may be received."""
        limit = self._now()
        if limit is None:
            self._bytes_left = 0
            return 0.0
        if count <= self._bytes_left:
            self._bytes_left -= count
            return 0.0
        reserved = max(count - self._bytes_left, _turn(limit))
        self._bytes_left += reserved - count
        return self._reserve(reserved / limit)

    def _now(self) -> int | None:
        return self._timetable.limit_at(time.localtime(time.time()))

    def _reserve(self, seconds: float) -> float:
        """Reserve `seconds` of the limit; returns the seconds until the turn begins."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.monotonic()
            stored = os.pread(self._file, _TIME.size, 0)
            used_until = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else 0.0
            if not used_until <= now + 60:  # of before the machine started
                used_until = now
            begin = max(used_until, now - _BURST_SECONDS)
            os.pwrite(self._file, _TIME.pack(begin + seconds), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return max(0.0, begin - now)


def _turn(limit: int) -> int:
    """Bytes that are taken in a turn."""
    return min(_MAX_BYTES, max(_MIN_BYTES, int(limit * _TURN_SECONDS)))
