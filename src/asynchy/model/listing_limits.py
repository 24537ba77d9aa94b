"""Limits of the listing of one experiment; beyond them, the server counts as faulty.

The facility is not trusted with our memory, disk and time: a folder without an end, a file of
10^18 bytes and a name as long as a packet each end in an error for their experiment.
"""

from __future__ import annotations

from collections.abc import Iterable

from asynchy.model.experiment import Entry

MAX_NAME_BYTES = 255
"""Bytes of the name of a file: NAME_MAX of Linux."""
MAX_PATH_BYTES = 4095
"""Bytes of a path: PATH_MAX of Linux, without the byte that ends it."""
MAX_EXPERIMENT_BYTES = 1 << 53
"""Bytes of an experiment: 9 PB. Sums of these still fit into a database."""


def check_name(path: bytes) -> None:
    """Check the length of the name at the end of a path.

    Raises:
        ValueError: it is longer than Linux allows.
    """
    if len(path) <= MAX_NAME_BYTES:  # as nearly all are
        return
    name = len(path) - path.rfind(b"/") - 1
    if name > MAX_NAME_BYTES:
        raise ValueError(f"a name of {name:,} bytes")


SHORTEN_IT = "ask the facility to move it to a shorter path"
"""The hint for a folder in which paths are too long."""


class ListingLimits:
    """Counts the listed entries and bytes of one experiment, up to the limits."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._left = entries
        self._bytes_left = MAX_EXPERIMENT_BYTES

    def take(self, entries: Iterable[Entry]) -> None:
        """Count some entries.

        Raises:
            ValueError: there are too many now, or they are too large together.
        """
        for entry in entries:
            self._left -= 1
            self._bytes_left -= entry.size
        self.check()

    def check(self) -> None:
        """Raise as `take` does where it has raised before."""
        if self._left < 0:
            raise ValueError(f"more than {self._entries:,} entries (max-entries)")
        if self._bytes_left < 0:
            raise ValueError(f"more than {MAX_EXPERIMENT_BYTES:,} bytes")
