"""How many rsyncs fetch an experiment, and how long one may be without output. Pure."""

from __future__ import annotations

from asynchy.model.experiment import ListingDiff
from asynchy.model.transfer_options import TransferOptions
from asynchy.ssh.server import Server

_DEFAULT_STREAMS = 4
"""Parallel rsyncs, unless the config names a number. Over 20 ms they carry more than twice as much
as one, over 100 ms four times as much; near by they cost a fifth.
"""
_MIN_BYTES_FOR_STREAMS = 64 << 20
"""Bytes from which on more than one is worth its connections."""
_IDLE_FACTOR = 10
"""Multiple of `timeout` that an rsync may be without output, plus the time for each file: it has no
output while it reads the earlier versions.
"""
_STAT_SECONDS = 0.005
"""Seconds to look at a file at home, at a slow file system."""
_CHECKSUM_RATE = 20_000_000  # bytes per second
"""Bytes a second that checksums are made of at least, in silence, too."""


def streams(remote: Server, options: TransferOptions, listing_diff: ListingDiff) -> int:
    """How many rsyncs fetch the missing files, side by side."""
    if listing_diff.missing_bytes < _MIN_BYTES_FOR_STREAMS or options.compare == "checksum":
        return 1
    return min(options.streams or _DEFAULT_STREAMS, remote.connections, listing_diff.missing_files)


def idle_timeout(remote: Server, listing_diff: ListingDiff) -> float:
    """Seconds that a fetching rsync may be without output."""
    return _IDLE_FACTOR * remote.timeout + _STAT_SECONDS * listing_diff.files


def checksum_idle_timeout(remote: Server, size: int) -> float:
    """Seconds that an rsync which compares `size` bytes may be without output."""
    return remote.timeout + size / _CHECKSUM_RATE
