"""How many rsyncs bring an experiment, and how long one may be without a word. Pure."""

from __future__ import annotations

from asynchy.model.experiment import ListingDiff
from asynchy.model.transfer_options import TransferOptions
from asynchy.ssh.server import Server

_DEFAULT_STREAMS = 4
"""rsyncs side by side where the config names no number: over 20 ms they carry more than twice what
one does, over 100 ms four times as much; near by they cost a fifth."""
_MIN_BYTES_FOR_STREAMS = 64 << 20
"""Bytes from which on more than one is worth its connections."""
_IDLE_FACTOR = 10
"""Times `timeout` that an rsync may be without a word, beside what it may take for each file: it
looks at the earlier version of each in silence."""
_STAT_SECONDS = 0.005
"""Seconds to look at a file at home, at a slow file system."""
_CHECKSUM_RATE = 20_000_000  # bytes per second
"""Bytes a second that checksums are made of at least, in silence, too."""


def streams(remote: Server, options: TransferOptions, listing_diff: ListingDiff) -> int:
    """How many rsyncs fetch the missing files, side by side."""
    if listing_diff.missing_bytes < _MIN_BYTES_FOR_STREAMS or options.compare == "checksum":
        return 1
    return min(options.streams or _DEFAULT_STREAMS, remote.connections, listing_diff.missing_files)


def patience(remote: Server, listing_diff: ListingDiff) -> float:
    """Seconds that an rsync which fetches may be without a word."""
    return _IDLE_FACTOR * remote.timeout + _STAT_SECONDS * listing_diff.files


def patience_for_checksums(remote: Server, size: int) -> float:
    """Seconds that an rsync which compares so many bytes may be without a word."""
    return remote.timeout + size / _CHECKSUM_RATE
