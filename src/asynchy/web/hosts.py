"""The hosts that move files, as the Dask scheduler tells of them, for the page Health."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asynchy.engines.cluster.client import cluster_at, our_version
from asynchy.errors import AsynchyError
from asynchy.model.cluster import ClusterAddress, ClusterWorker

_FRESH = timedelta(seconds=10)
_PATIENCE = 3.0
"""Seconds that a page waits for the scheduler; what it answers later is for the next page."""


@dataclass(frozen=True)
class HostsView:
    """What the scheduler said last."""

    at: datetime
    workers: tuple[ClusterWorker, ...]
    version: str
    """Of asynchy and distributed here."""
    problem: str | None
    """Why it said nothing; None: it did."""
    to_do: str | None = None


class HostsReader:
    """Asks the scheduler, at most every ten seconds; for several threads."""

    def __init__(self, address: ClusterAddress) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._found: HostsView | None = None
        self._asking: threading.Thread | None = None

    def view(self) -> HostsView | None:
        """What it said last; None: nothing yet."""
        with self._lock:
            asking, found = self._asking, self._found
            if found is not None and datetime.now(UTC) - found.at < _FRESH:
                return found
            if asking is None or not asking.is_alive():
                asking = self._asking = threading.Thread(target=self._ask, daemon=True)
                asking.start()
        asking.join(_PATIENCE)
        return self._found

    def _ask(self) -> None:
        try:
            workers = tuple(cluster_at(self.address).workers())
        except AsynchyError as error:
            self._found = HostsView(datetime.now(UTC), (), "", error.message, error.hint)
        else:
            self._found = HostsView(datetime.now(UTC), workers, our_version(), None)
