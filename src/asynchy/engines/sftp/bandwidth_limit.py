"""A limit on the bytes a second that all streams on this machine take together.

A file in shared memory holds the time until which the limit is used up. Whoever wants to ask for
some bytes moves it on by what they take and waits until then, so that streams of several commands
share one limit exactly. The monotonic clock is the same for all processes of a machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import tempfile
import time
from pathlib import Path

from asynchy.ssh.server import Server

_TIME = struct.Struct("d")
_BURST = 0.1
"""Seconds of silence that may be made up for."""


def place_of(remote: Server, user: int) -> Path:
    """The file through which a user's streams from a server share their limit; it stays."""
    name = hashlib.sha256(f"{remote.host} {remote.port}".encode()).hexdigest()[:16]
    memory = Path("/dev/shm")  # noqa: S108 - of this user alone, and not a link
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"asynchy-pace-{user}-{name}"


class BandwidthLimit:
    """The limit as one process sees it."""

    def __init__(self, remote: Server, bandwidth: int) -> None:
        self._bandwidth = bandwidth
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(place_of(remote, os.getuid()), flags, 0o600)

    def wait_for(self, count: int) -> float:
        """Take a number of bytes; the seconds to wait before they may be asked for."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.monotonic()
            stored = os.pread(self._file, _TIME.size, 0)
            until = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else 0.0
            if not until <= now + 60:  # of before the machine started
                until = now
            begin = max(until, now - _BURST)
            os.pwrite(self._file, _TIME.pack(begin + count / self._bandwidth), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return max(0.0, begin - now)
