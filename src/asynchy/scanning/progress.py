"""How far a walk is."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from asynchy.model.experiment import Entry, EntryKind
from asynchy.model.formatting import count, size
from asynchy.runtime.progress import RateMeter


class ScanProgress:
    """How far a walk is; written by its threads, read by those that show it."""

    def __init__(self) -> None:
        self.experiments = 0
        """Experiments that have been listed."""
        self.total = 0
        """Experiments that are to be listed."""
        self.folders = 0
        self.files = 0
        self.bytes = 0
        self.problems = 0
        self.left = {EntryKind.DOT_FILE: 0, EntryKind.SYMLINK: 0, EntryKind.SPECIAL: 0}
        self._lock = threading.Lock()
        self._meter = RateMeter()

    def begin(self, total: int) -> None:
        """Begin, with the number of experiments that were found."""
        self.total = total
        self._meter = RateMeter()

    def entries(self, entries: Sequence[Entry]) -> None:
        """Some entries were listed."""
        with self._lock:
            for entry in entries:
                if entry.kind is EntryKind.FILE:
                    self.files += 1
                    self.bytes += entry.size
                elif entry.kind in self.left:
                    self.left[entry.kind] += 1
            self._meter.advance_to(self.files)

    def folder(self, *, listed: bool) -> None:
        """A folder has been listed, or could not be."""
        with self._lock:
            self.folders += 1
            self.problems += not listed

    def experiment(self) -> None:
        """An experiment is done."""
        with self._lock:
            self.experiments += 1

    def found(self) -> str:
        """The counts as text for people: `2,041 folders, 100,000 files, 1.2 TB, 9,800 files/s`."""
        with self._lock:
            bad = f", {self.problems:,} not listed" if self.problems else ""
            return (
                f"{count(self.folders, 'folder')}{bad}, {count(self.files, 'file')}, "
                f"{size(self.bytes)}, {self._meter.rate:,.0f} files/s"
            )

    def line(self) -> str:
        """All of it in one line."""
        return f"walk: {self.experiments:,} of {count(self.total, 'experiment')}, {self.found()}"
