"""How much a listing may tell of one experiment before it counts as a server that went wrong.

The facility is not trusted with our memory, disk and time: a folder without an end, a file of
10^18 bytes and a name as long as a packet each end in an error for their experiment.
"""

from __future__ import annotations

from collections.abc import Iterable

from asynchy.domain.experiment import Entry

LONGEST_NAME = 255
"""Bytes of the name of a file: NAME_MAX of Linux."""
LONGEST_PATH = 4095
"""Bytes of a path: PATH_MAX of Linux, without the byte that ends it."""
LARGEST = 1 << 53
"""Bytes of an experiment: 9 PB. Sums of such stay what a database can add."""


def check_path(root: bytes, path: bytes) -> None:
    """See that a path within a folder at the facility is one that a file can have.

    Raises:
        ValueError: its name or its path is longer than Linux allows.
    """
    whole = len(root) + 1 + len(path)
    if whole <= LONGEST_NAME:  # as nearly all are
        return
    name = len(path) - path.rfind(b"/") - 1
    if name > LONGEST_NAME:
        raise ValueError(f"a name of {name:,} bytes")
    if whole > LONGEST_PATH:
        raise ValueError(f"a path of {whole:,} bytes")


class Bounds:
    """Adds up what is listed of one experiment, so many entries at most."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._left = entries
        self._bytes_left = LARGEST

    def take(self, entries: Iterable[Entry], unwanted: int = 0) -> None:
        """Count some entries, and so many more that are not brought home.

        Raises:
            ValueError: with these they are too many, or too large together.
        """
        for entry in entries:
            self._left -= 1
            self._bytes_left -= entry.size
        self._left -= unwanted
        self.check()

    def check(self) -> None:
        """Raise as `take` does where it has raised before."""
        if self._left < 0:
            raise ValueError(f"more than {self._entries:,} entries (max-entries)")
        if self._bytes_left < 0:
            raise ValueError(f"more than {LARGEST:,} bytes")
