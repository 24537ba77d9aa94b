"""The workers of a transfer: who takes work, who cannot go on, how long it is waited for one."""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

from asynchy.engines.cluster.client import Cluster
from asynchy.engines.sftp.messages import ConnectionLost, LocalFailure
from asynchy.model.cluster import ClusterWorker
from asynchy.model.formatting import count, duration, escaped

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at the workers."""
_NAMED_AFTER = 10.0
_AGAIN = 60.0
"""Seconds after which a wait without workers is named first, and then again and again."""

Trouble = ConnectionLost | LocalFailure


class TransferWorkers:
    """Those that take work of one transfer."""

    def __init__(self, cluster: Cluster, patience: float) -> None:
        """`patience`: seconds without any message after which the transfer ends."""
        self.able: list[ClusterWorker] = []
        self._cluster = cluster
        self._patience = patience
        self._unfit: dict[str, Trouble] = {}
        """Workers that could not go on, by address, and why."""
        self._other_versions: set[str] = set()
        now = time.monotonic()
        self._looked = 0.0
        self._heard = now
        self._had_some = now
        self._name_next = now + _NAMED_AFTER

    @property
    def places(self) -> int:
        """How many shards they work on at a time."""
        return sum(worker.places for worker in self.able)

    @property
    def hosts(self) -> int:
        """On how many hosts they are."""
        return len({urlsplit(worker.address).hostname for worker in self.able})

    @property
    def fit(self) -> list[str] | None:
        """The addresses of those that may get work; None: all of ours may."""
        return [worker.address for worker in self.able] if self._unfit else None

    def share(self, connections: int) -> int:
        """How many connections a shard has: a part of all, and of what its host may have.

        One of all is left for this machine: to list the next experiment.
        """
        of_host = min(worker.connections // worker.places for worker in self.able)
        return max(1, min(of_host, (connections - 1) // self.places))

    def heard(self) -> None:
        """A worker sent a message, or there is another reason to wait."""
        self._heard = time.monotonic()

    def leave_out(self, address: str, host: str, trouble: Trouble) -> None:
        """A worker cannot go on with this transfer; others do its work."""
        log.warning("%s cannot go on: %s", host, trouble.reason)
        self._unfit[address] = type(trouble)(f"{host}: {trouble.reason}", trouble.hint)
        self.able = [worker for worker in self.able if worker.address != address]

    def look(self, *, idle: bool) -> Trouble | None:
        """See who is there; why the transfer ends, if it does. `idle`: no shard is worked on.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return None
        self._looked = now
        found = self._cluster.workers()
        self._name_other_versions(found)
        able = [worker for worker in found if worker.places and worker.running]
        self.able = [worker for worker in able if worker.address not in self._unfit]
        if able and not self.able and idle:
            last = self._unfit[able[-1].address]
            words = f"none of {count(len(able), 'worker')} can go on; the last: {last.reason}"
            return type(last)(words, last.hint)
        return self._heed_silence(now)

    def _name_other_versions(self, found: list[ClusterWorker]) -> None:
        for worker in found:
            if not worker.places and worker.version not in self._other_versions:
                self._other_versions.add(worker.version)
                log.warning(
                    "worker %s has another version (%s, as asynchy/distributed) and gets no work; "
                    "install the same on all hosts", escaped(worker.host), escaped(worker.version),
                )  # fmt: skip

    def _heed_silence(self, now: float) -> ConnectionLost | None:
        if self.able:
            self._had_some, self._name_next = now, now + _NAMED_AFTER
        elif now > self._name_next:
            self._name_next = now + _AGAIN
            log.warning(
                "no worker is connected to the Dask scheduler %s that could do the work; waiting "
                "for one, up to %s (start `asynchy worker`)", self._cluster.address,
                duration(self._patience),
            )  # fmt: skip
        since = self._heard if self.able else max(self._heard, self._had_some)
        if now - since <= self._patience:
            return None
        what = "no worker sent a message" if self.able else "there was no worker"
        return ConnectionLost(
            f"{what} for {duration(self._patience)} at the Dask scheduler {self._cluster.address}",
            "look at the workers (`asynchy doctor`, `systemctl status asynchy-worker@…`)",
        )
