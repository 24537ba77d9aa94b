"""Progress of reading a copy, counted by several threads and reported now and then."""

from __future__ import annotations

import threading
import time

from asynchy.model.experiment import Copy
from asynchy.runtime.progress import ProgressBoard

_REPORT_INTERVAL = 0.1  # seconds
"""Seconds between two reports."""


class ReadProgress:
    """Tells the board how much of a copy has been read."""

    def __init__(
        self, board: ProgressBoard, copy: Copy, amount: tuple[int, int], doing: str
    ) -> None:
        """Begin; `amount` is how many files and bytes there are to read, `doing` what for."""
        self._board = board
        self._copy = copy
        self._lock = threading.Lock()
        self._files = self._bytes = 0
        self._reported_at = 0.0
        board.begin_reading(copy, *amount, doing)

    def add(self, count: int, files: int = 0) -> None:
        """Add bytes and files that were read."""
        with self._lock:
            self._bytes += count
            self._files += files
            if time.monotonic() - self._reported_at > _REPORT_INTERVAL:
                self._reported_at = time.monotonic()
                self._board.arrived(self._copy, self._bytes, self._files)
