"""The EPNs that one cycle completed, written to `ignore.yml` once, at its end."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.config import Settings
from asynchy.config.ignore_file import IgnoreFile
from asynchy.domain.epn import Epn
from asynchy.errors import AsynchyError
from asynchy.service.lost_state import StateFiles, lost_since_begin, read_state_files

log = logging.getLogger(__name__)


class IgnoreUpdates:
    """Collects EPNs; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.file = IgnoreFile(settings.ignore)
        self.path = settings.ignore
        self._settings = settings
        self._epns: set[Epn] = set()
        self._lock = threading.Lock()

    def read(self) -> frozenset[str]:
        """The EPNs that are in the file now.

        Raises:
            IgnoreListError: the file cannot be used.
        """
        return frozenset(epn.text for epn in self.file.read().epns)

    def add(self, epn: Epn) -> None:
        """Have the EPN in the file at the end of the cycle."""
        with self._lock:
            self._epns.add(epn)

    def write(self, now: datetime) -> str | None:
        """Write what was collected, and note in the catalogue what the file holds.

        Returns what went wrong, which is logged, too. Then the file is as it was, and the
        catalogue still knows what is complete: the next cycle compares it again.
        """
        with self._lock:
            epns, self._epns = frozenset(self._epns), set()
        try:
            files = read_state_files(self._settings, write=True)
            lost = lost_since_begin(files)  # a file system may have gone
            if lost is not None:
                raise lost
            self._write(files, epns - files.entries.epns, now)
        except AsynchyError as error:
            done = ", ".join(sorted(epn.text for epn in epns))
            what = f"{done}: complete, but not noted in ignore.yml: {error}" if done else str(error)
            log.error("%s (%s)", what, error.hint or "the next cycle tries again")
            return what
        return None

    def _write(self, files: StateFiles, new: frozenset[Epn], now: datetime) -> None:
        markers = StateMarkers.open(files.catalogue)
        if new:
            first = files.markers.ignore_comment != str(self.path)
            markers.note_ignored(new, now)  # before: a crash must not make them a person's
            self.file.add_all(new, files.catalogue if first else None)
        if new or files.entries.has_list:
            entries = len(files.entries.epns | new)
            markers.note_ignore_file(self.path, entries, commented=bool(new))
