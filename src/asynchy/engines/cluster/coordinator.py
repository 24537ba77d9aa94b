"""Several hosts at work on one experiment: who does what, and what becomes of it.

As many shards are given to the cluster as there are places for them, and one more where the
connections allow it, so that a cluster that grows by itself sees that there is work. What a host
lost, or gave back, goes to another.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asynchy.engines.chunks import Extent, WorkUnit
from asynchy.engines.cluster.client import Cluster
from asynchy.engines.cluster.shard import DurableData, Shard, ShardResult, ShardSize, ranged_files
from asynchy.engines.cluster.workers import TransferWorkers
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import ConnectionLost, LocalFailure
from asynchy.engines.sftp.transfer import MissingFiles
from asynchy.errors import ClusterError, ListingError
from asynchy.localfs import shard_folders
from asynchy.localfs.shard_folders import ShardOver
from asynchy.model import heartbeat
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry
from asynchy.model.formatting import count, duration, escaped
from asynchy.ssh import connection_limit
from asynchy.ssh.connection_limit import ConnectionPermit
from asynchy.ssh.session import ServerSession

if TYPE_CHECKING:
    from distributed import Future

log = logging.getLogger(__name__)

_TICK = 0.2
_GRACE = 10.0
"""Seconds that the hosts have to make durable what they have, once they were asked to stop."""
_RESULT = 30.0
"""Seconds within which a result comes from the worker that has it; else it is made again."""
_TRIES = 3
"""How often, for each worker and once more, shards may fail in Dask or be taken over."""
_SILENT = 60.0
"""Seconds after which a shard is named of which nothing is heard."""


@dataclass
class _Running:
    """A shard that the cluster has."""

    shard: Shard
    future: Future[ShardResult]
    permits: list[ConnectionPermit]
    ranged: Mapping[bytes, Entry]
    """The files of which it has ranges, by path."""
    moved: int = 0
    files: int = 0
    heard: float = field(default_factory=time.monotonic)
    """When something was heard of it last, or it was given to the cluster."""
    host: str = ""
    """Who works on it, as far as was heard."""
    named: bool = False
    """Whether its silence was."""


class ShardCoordinator:
    """Fetches what is missing with the workers that there are."""

    def __init__(  # noqa: PLR0913, PLR0917 - who, what, from where, and with what limits
        self,
        cluster: Cluster,
        missing: MissingFiles,
        first: WorkUnit,
        session: ServerSession,
        streams: int | None,
        bandwidth: BandwidthTimetable | None,
    ) -> None:
        self._cluster = cluster
        self._missing = missing
        self._session = session
        self._streams = streams
        self._bandwidth = bandwidth
        self._workers = TransferWorkers(cluster, session.server.timeout)
        self._name = f"asynchy-{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._units = itertools.chain([first], missing.units)
        self._exhausted = False
        self._returned: deque[Sequence[WorkUnit]] = deque()
        self._running: dict[int, _Running] = {}
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """What workers report, and the numbers of shards whose futures have ended."""
        diff = missing.listing_diff
        self._size = ShardSize.of(diff.missing_bytes, diff.missing_files)
        self._ended = FetchStats()
        self._failures = 0
        self._shown = (0, 0)

    def run(self, stop: Stop) -> FetchStats:
        """Fetch everything, or as much as can be had, until done or stopped.

        Raises:
            OSError: what is durable could not be recorded.
            CatalogueError: the files that are missing could not be read.
        """
        with self._cluster.listening(self._name, self._events.put):
            try:
                while not self._is_over() and not stop.requested:
                    self._look()
                    self._submit()
                    self._hear()
                    heartbeat.beat()
            finally:
                try:
                    self._close(stop)
                finally:
                    for running in self._running.values():
                        _release(running.permits)
        self._tell()
        return self._ended

    @property
    def _has_failed(self) -> bool:
        return self._ended.broken is not None or self._ended.lost is not None

    def _is_over(self) -> bool:
        done = self._exhausted and not self._returned and not self._running
        return done or self._has_failed

    def _look(self) -> None:
        try:
            trouble = self._workers.look(idle=not self._running)
        except ClusterError as error:
            trouble = ConnectionLost(error.message, error.hint)
        if isinstance(trouble, LocalFailure):
            self._ended.broken = trouble
        elif trouble is not None:
            self._ended.lost = trouble
        now = time.monotonic()
        for running in self._running.values():
            if now - running.heard > _SILENT and not running.named and self._workers.able:
                running.named = True
                log.warning(
                    "no message of shard %d%s came for %s; once the scheduler finds that its "
                    "worker is gone (worker-ttl), another does it", running.shard.number,
                    f" on {running.host}" if running.host else "", duration(_SILENT),
                )  # fmt: skip

    def _submit(self) -> None:
        """Give the cluster shards for the places that are free."""
        if not self._workers.places or self._has_failed:
            return
        each = self._workers.share(self._session.server.connections)
        while len(self._running) <= self._workers.places:
            permits = self._permits(each)
            if not permits:
                if not self._running:
                    self._workers.heard()  # others have the connections, perhaps for hours
                return
            units = self._next()
            if not units:
                _release(permits)
                return
            self._give(units, each, permits)

    def _permits(self, number: int) -> list[ConnectionPermit]:
        """So many of this machine's permits, on behalf of a worker; none, if they are not free.

        So the limit of the config holds for all hosts, and for this machine's other commands.
        """
        remote, found = self._session.server, list[ConnectionPermit]()
        if connection_limit.has_waiting(remote) and self._running:
            return found
        try:
            for _ in range(number):
                found.append(connection_limit.acquire(remote, Stop(), patient=False))
        except ListingError:
            _release(found)
            return []
        return found

    def _next(self) -> Sequence[WorkUnit]:
        """What the next shard is of; none, if there is nothing to give now."""
        while self._returned:
            units = self._returned.popleft()
            there = {path: self._missing.files.there(path) for path in ranged_files(units)}
            if left := tuple(DurableData(there).rest(units)):
                return left
            self._note_ranges(ranged_files(units), {})
        units = () if self._exhausted else self._size.cut(self._units, self._workers.places)
        self._exhausted = not units
        return units

    def _give(
        self, units: Sequence[WorkUnit], connections: int, permits: list[ConnectionPermit]
    ) -> None:
        number = next(self._numbers)
        shard = Shard(
            transfer=self._name,
            number=number,
            remote=self._session.server,
            task=self._missing.task,
            units=units,
            connections=connections,
            bandwidth=self._bandwidth and self._bandwidth.shared(self._workers.hosts),
            round_trip=self._session.facts.round_trip,
            streams=self._streams and min(self._streams, connections),
        )
        shard_folders.begin(self._missing.scratch.descriptor, shard.name)
        future = self._cluster.submit(shard, self._workers.fit)
        self._running[number] = _Running(shard, future, permits, ranged_files(units))
        future.add_done_callback(lambda _future: self._events.put(number))
        log.debug("shard %d: %s", number, count(shard.files, "piece"))

    def _hear(self) -> None:
        with contextlib.suppress(queue.Empty):
            event = self._events.get(timeout=_TICK)
            while True:
                self._take(event)
                event = self._events.get_nowait()
        self._tell()

    def _take(self, event: Any) -> None:
        if isinstance(event, int):
            if (running := self._running.get(event)) is not None:
                self._note_end(running)
            return
        self._workers.heard()
        running = self._running.get(event["shard"])
        if running is not None:
            running.heard, running.named = time.monotonic(), False
            running.host = event["host"]
            # What another attempt had moved before counts until this one has more.
            running.moved = max(running.moved, event["bytes"])
            running.files = max(running.files, event["files"])
            for path, extents in event["extents"]:
                self._missing.files.keep(path, [(offset, length) for offset, length in extents])

    def _note_end(self, running: _Running) -> None:
        """A shard's future has ended."""
        future, number = running.future, running.shard.number
        if future.status == "finished":
            try:
                result = future.result(timeout=_RESULT)
            except (OSError, TimeoutError):  # the worker that has it died; it is made again
                future.add_done_callback(lambda _future: self._events.put(number))
            except Exception as error:  # noqa: BLE001 - as below
                self._note_failure(running, error)
            else:
                self._workers.heard()
                self._finish(running)
                self._note_result(running, result)
        elif future.status == "error":
            self._note_failure(running, future.exception(timeout=_RESULT))
        elif future.status in {"cancelled", "lost"}:
            self._finish(running)
            gone = self._cluster.gone()
            self._ended.lost = self._ended.lost or ConnectionLost(gone.message, gone.hint)

    def _finish(self, running: _Running) -> None:
        """Take a shard from the cluster: nobody can write for it any more."""
        shard = running.shard
        del self._running[shard.number]
        _release(running.permits)
        if shard_folders.end(self._missing.scratch.descriptor, shard.name):
            for path in running.ranged:
                self._missing.files.share(path)

    def _note_failure(self, running: _Running, error: BaseException | None) -> None:
        """A shard has no result: it was taken from those who worked on it, or Dask gave it up."""
        shard = running.shard
        self._finish(running)
        self._failures += 1
        words = escaped(str(error), limit=300)
        if self._failures > _TRIES * (1 + len(self._workers.able)):
            hint = "look at the log of the workers (`journalctl -u asynchy-worker@…`)"
            self._ended.broken = LocalFailure(f"shards failed again and again: {words}", hint)
            return
        level = logging.INFO if isinstance(error, ShardOver) else logging.WARNING
        log.log(level, "shard %d is done again: %s", shard.number, words)
        self._returned.append(shard.units)

    def _note_result(self, running: _Running, result: ShardResult) -> None:
        stats, ended = result.stats, self._ended
        ended.bytes += stats.bytes
        ended.files += stats.files
        if result.rest:  # what failed in it fails again, and is counted then
            self._returned.append(result.rest)
        else:
            self._size.ended(running.shard, result.seconds)
            ended.merge_faults(stats)
        self._note_ranges(running.ranged, result.extents)
        if result.round_trip is not None:
            self._session.note_round_trip(result.round_trip)
        if (trouble := stats.broken or stats.lost) is not None:
            self._workers.leave_out(result.worker, result.host, trouble)

    def _note_ranges(
        self, ranged: Mapping[bytes, Entry], extents: Mapping[bytes, Sequence[Extent]]
    ) -> None:
        """Note what is durable of files; those to which nobody writes any more may be whole."""
        busy = set[bytes]().union(
            *(running.ranged for running in self._running.values()),
            *(ranged_files(units) for units in self._returned),
        )
        for path, entry in ranged.items():
            self._missing.files.keep(path, extents.get(path, ()))
            if path not in busy:
                self._ended.files += self._missing.files.finish(entry)

    def _tell(self) -> None:
        running = self._running.values()
        moved = self._ended.bytes + sum(one.moved for one in running)
        files = self._ended.files + sum(one.files for one in running)
        self._shown = max(self._shown[0], moved), max(self._shown[1], files)
        self._missing.on_progress(*self._shown)

    def _close(self, stop: Stop) -> None:
        """End what runs; hosts that are asked to stop make durable what they have."""
        from asynchy.engines.cluster.work import close_idle, stop_event  # noqa: PLC0415 - extra

        was_asked = bool(self._running)
        with contextlib.suppress(ClusterError):
            if was_asked:
                self._cluster.set_event(stop_event(self._name))
            deadline = time.monotonic() + _GRACE
            while self._running and time.monotonic() < deadline and not stop.forced:
                if not self._cluster.alive:
                    break
                self._hear()
        for running in list(self._running.values()):
            running.future.cancel()
            self._finish(running)
        with contextlib.suppress(ClusterError):
            self._cluster.run(close_idle)
            if was_asked:
                self._cluster.clear_event(stop_event(self._name))


def _release(permits: Iterable[ConnectionPermit]) -> None:
    for permit in permits:
        permit.release()
