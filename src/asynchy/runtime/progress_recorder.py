"""Writes how the transfers of this process get on to the catalogue, for those who look."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from asynchy.catalogue import Catalogue
from asynchy.errors import CatalogueError
from asynchy.model.experiment import Copy
from asynchy.model.transfer_progress import RunningTransfer
from asynchy.runtime.periodic import PeriodicTask
from asynchy.runtime.progress import ProgressBoard

log = logging.getLogger(__name__)

_RECORD_INTERVAL = 2.0  # seconds
"""Seconds between two entries while something runs."""
_THIN_INTERVAL = 3600.0  # seconds
"""Seconds between two times at which old samples are added up."""


class ProgressRecorder:
    """Stores what a `ProgressBoard` knows. While nothing runs, nothing is written."""

    def __init__(self, board: ProgressBoard, catalogue: Catalogue) -> None:
        self._board = board
        self._catalogue = catalogue
        self._stored = 0
        """Bytes that arrived, as last stored."""
        self._began: dict[Copy, datetime] = {}
        self._has_rows = False
        self._thinned = float("-inf")

    def task(self) -> PeriodicTask:
        """The task to run every two seconds."""
        return PeriodicTask(_RECORD_INTERVAL, self.store)

    def store(self) -> None:
        """Store the running transfers, and the bytes that arrived since the last time.

        Raises:
            CatalogueError: the catalogue cannot be used.
        """
        self._write(self._running())
        if self._has_rows and time.monotonic() - self._thinned > _THIN_INTERVAL:
            self._thinned = time.monotonic()
            self._catalogue.transfers.thin(datetime.now(UTC))

    def _write(self, running: list[RunningTransfer]) -> None:
        moved = self._board.moved
        if not running and not self._has_rows and moved == self._stored:
            return
        self._catalogue.transfers.store(running, moved - self._stored, datetime.now(UTC))
        self._stored, self._has_rows = moved, bool(running)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """At the end, store what arrived last, and that nothing runs any more."""
        try:
            yield
        finally:
            try:
                self._write([])
            except CatalogueError as error:
                log.warning("the bytes of the last seconds could not be stored: %s", error)

    def _running(self) -> list[RunningTransfer]:
        now = datetime.now(UTC)
        running = self._board.running()
        self._began = {copy: self._began.get(copy, now) for copy in running}
        return [
            RunningTransfer(
                experiment=copy.experiment,
                project=copy.project,
                destination=str(copy.destination),
                since=self._began[copy],
                heartbeat=now,
                bytes=item.bytes,
                done=item.done,
                files=item.files,
                files_done=item.files_done,
                rate=item.rate,
                left=item.left,
                doing=item.doing,
            )
            for copy, item in running.items()
        ]
