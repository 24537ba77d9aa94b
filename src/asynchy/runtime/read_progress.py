"""How far the reading of a copy is, counted by several threads and told now and then."""

from __future__ import annotations

import threading
import time

from asynchy.model.experiment import Copy
from asynchy.runtime.progress import ProgressBoard

_REPORT_INTERVAL = 0.1  # seconds
"""Seconds between two words."""


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
        self._told = 0.0
        board.look(copy, *amount, doing)

    def add(self, count: int, files: int = 0) -> None:
        """So many bytes more were read, and so many files."""
        with self._lock:
            self._bytes += count
            self._files += files
            if time.monotonic() - self._told > _REPORT_INTERVAL:
                self._told = time.monotonic()
                self._board.arrived(self._copy, self._bytes, self._files)
