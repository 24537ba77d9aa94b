"""Distributes the work of one experiment over several streams, and collects their results.

The coordinator hands out work units and receives events. The death of a stream costs only the bytes
that it had not yet made durable: the rest of its work unit is given to another.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from asynchy.engines.base import OnProgress
from asynchy.engines.chunks import Chunk, Extent, WorkUnit, missing
from asynchy.engines.faults import log_fault
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import (
    Arrived,
    ConnectionLost,
    Done,
    Durable,
    Failed,
    Idle,
    LocalFailure,
    NeedsWork,
    Ready,
    Task,
)
from asynchy.engines.sftp.stream_tuner import Tuner
from asynchy.engines.sftp.worker_pool import MAX_CONNECTING, PooledWorker, WorkerPool
from asynchy.model import heartbeat
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count, duration, escaped
from asynchy.ssh import connection_limit
from asynchy.ssh.fork_server import wait_for_messages

log = logging.getLogger(__name__)

_POLL_INTERVAL = 0.1  # seconds
_STOP_TIMEOUT = 5.0  # seconds
"""Seconds that a stream has to make durable what it has, once it was asked to stop."""
_MAX_TRIES = 3
"""How often in a row a lost connection is made again if nothing arrives meanwhile, and how many
streams may die at one work unit.
"""
_PAUSE_SECONDS = 1.0
"""A longer time between two checks means that this process was stopped, or hung."""
_STILL_HINT = "look at the file system of the project folder (`df`, `dmesg`), and at the processes"


@dataclass
class _Assignment:
    """A work unit that a stream works on."""

    unit: WorkUnit
    durable: dict[int, list[Extent]] = field(default_factory=dict)
    """The durable extents, by the number of the chunk."""
    failed: set[int] = field(default_factory=set)

    def remaining(self) -> list[Chunk]:
        """The chunks that are still to be fetched."""
        remaining_chunks = []
        for number, chunk in enumerate(self.unit.chunks):
            durable = self.durable.get(number, [])
            if number in self.failed or (chunk.whole and durable):
                continue
            if chunk.whole:
                remaining_chunks.append(chunk)
                continue
            extents = [(offset - chunk.offset, length) for offset, length in durable]
            for offset, length in missing(chunk.length, extents):
                remaining_chunks.append(replace(chunk, offset=chunk.offset + offset, length=length))
        return remaining_chunks


@dataclass(eq=False)
class _Stream:
    worker: PooledWorker
    assignments: dict[int, _Assignment] = field(default_factory=dict)
    closing: bool = False
    reported_end: bool = False
    """Whether it has reported why it ends."""
    at_risk: int = 0
    """Bytes that arrived and are not durable."""
    last_active: float = field(default_factory=time.monotonic)
    """When it last reported progress, or that it waits for something: a process that hangs does
    neither.
    """

    @property
    def ready(self) -> bool:
        """Whether it is connected."""
        return self.worker.round_trip is not None


class Coordinator:
    """Fetches work units with as many streams as are worth it.

    `on_durable` gets the extents of each chunk that are on the disk, and returns whether that
    completed a file.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - workers, work, tuning, callbacks
        self,
        worker_pool: WorkerPool,
        task: Task,
        units: Iterator[WorkUnit],
        tuner: Tuner,
        on_durable: Callable[[Chunk, Sequence[Extent]], bool],
        on_progress: OnProgress,
    ) -> None:
        self._worker_pool = worker_pool
        self._task = task
        self._units = units
        self._tuner = tuner
        self._on_durable = on_durable
        self._on_progress = on_progress
        self._stats = FetchStats()
        self._streams: list[_Stream] = []
        self._returned: deque[WorkUnit] = deque()
        self._failed_in_part: set[bytes] = set()  # files of which a chunk failed: each counts once
        self._deaths: dict[int, int] = defaultdict(int)
        self._needing_work: deque[_Stream] = deque()
        self._exhausted = False
        self._started = 0
        self._moved = 0
        self._reported = 0
        self._failures = 0
        """Connections in a row that were lost or not made, while nothing arrived."""
        self._last_lost = ""
        """Why the last of them was."""
        self._not_before = 0.0
        self._checked_waiting_at = 0.0
        self._checked_at = time.monotonic()

    def run(self, stop: Stop) -> FetchStats:
        """Fetch everything, or as much as can be had, until done or stopped.

        Raises:
            OSError: the durable extents could not be recorded. CatalogueError: the files could not
            be read.
        """
        if (unit := self._next_unit()) is None:
            return self._stats
        self._returned.append(unit)
        try:
            while not self._is_over() and not stop.requested:
                self._start_streams()
                self._assign_work()
                self._receive_all()
                self._end_hung()
                self._adjust()
                heartbeat.beat()
        finally:
            self._close(stop)
        self._report()
        return self._stats

    def _is_over(self) -> bool:
        stats = self._stats
        if stats.broken is not None or (stats.lost is not None and not self._streams):
            return True
        return (
            self._exhausted
            and not self._returned
            and not any(stream.assignments for stream in self._streams)
        )

    def _start_streams(self) -> None:
        """Start streams that are wanted, a few at a time."""
        alive = [stream for stream in self._streams if not stream.closing]
        starting = sum(not stream.ready for stream in alive)
        if time.monotonic() < self._not_before or (self._exhausted and not self._returned):
            return
        while len(alive) < self._tuner.wanted and starting < MAX_CONNECTING:
            if alive and not connection_limit.free(self._worker_pool.remote):
                self._not_before = time.monotonic() + 1.0
                return
            self._started += 1
            stream = _Stream(self._worker_pool.acquire(patient=not alive))
            self._send(stream, replace(self._task, number=self._started))
            self._streams.append(stream)
            alive.append(stream)
            starting += not stream.ready

    def _assign_work(self) -> None:
        """Give work units to the streams that need work, or let them finish."""
        while self._needing_work:
            stream = self._needing_work[0]
            if stream.closing or stream not in self._streams:
                self._needing_work.popleft()
                continue
            if sum(not other.closing for other in self._streams) > self._tuner.wanted:
                self._finish_stream(stream)
                continue
            unit = self._next_unit()
            if unit is None:
                if self._exhausted and not any(other.assignments for other in self._streams):
                    self._finish_stream(stream)
                    continue
                return  # it may still get a unit that another stream gives back
            self._needing_work.popleft()
            stream.assignments[unit.number] = _Assignment(unit)
            self._send(stream, unit)

    def _next_unit(self) -> WorkUnit | None:
        if self._returned:
            return self._returned.popleft()
        unit = None if self._exhausted else next(self._units, None)
        self._exhausted = unit is None
        return unit

    def _finish_stream(self, stream: _Stream) -> None:
        stream.closing = True
        self._send(stream, None)

    @staticmethod
    def _send(stream: _Stream, message: Task | WorkUnit | None) -> None:
        try:
            stream.worker.process.pipe.send(message)
        except OSError:
            return  # it has died, which its pipe shows in a moment

    def _receive_all(self) -> None:
        streams = {id(stream.worker.process): stream for stream in self._streams}
        workers = [stream.worker.process for stream in streams.values()]
        for worker in wait_for_messages(workers, _POLL_INTERVAL):
            self._receive(streams[id(worker)])

    def _receive(self, stream: _Stream) -> None:
        pipe = stream.worker.process.pipe
        try:
            self._handle(stream, pipe.recv())
            while stream in self._streams and pipe.poll():
                self._handle(stream, pipe.recv())
        except (EOFError, ConnectionResetError):
            self._reap(stream, _STOP_TIMEOUT)
        except BlockingIOError:  # it hangs in the middle of a message
            self._end(stream)

    def _handle(self, stream: _Stream, event: object) -> None:
        stream.last_active = time.monotonic()
        match event:
            case Ready(round_trip):
                stream.worker.round_trip = round_trip
                self._tuner.ready(round_trip)
                self._worker_pool.session.note_round_trip(round_trip)
                log.debug("a stream is connected; round trip %.1f ms", 1000 * round_trip)
            case NeedsWork():
                self._needing_work.append(stream)
            case Arrived(number):
                stream.at_risk += number
                self._moved += number
                self._failures = 0
            case Durable():
                self._note_durable(stream, event)
            case Done(number):
                del stream.assignments[number]
            case Failed():
                self._note_failed(stream.assignments[event.unit], event)
            case Idle():
                self._streams.remove(stream)
                self._worker_pool.release(stream.worker)
            case ConnectionLost() | LocalFailure():
                self._note_end(stream, event)

    def _note_end(self, stream: _Stream, event: ConnectionLost | LocalFailure) -> None:
        stream.reported_end = True
        if isinstance(event, ConnectionLost):
            self._note_lost(stream, event)
        else:
            self._stats.broken = self._stats.broken or event

    def _note_durable(self, stream: _Stream, event: Durable) -> None:
        stream.at_risk -= event.bytes
        self._stats.files += event.files
        assignment = stream.assignments[event.unit]
        for number, extents in event.extents.items():
            chunk = assignment.unit.chunks[number]
            assignment.durable.setdefault(number, []).extend(extents)
            self._stats.files += self._on_durable(chunk, extents)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("sftp: %s", escaped(chunk.entry.path))

    def _note_failed(self, assignment: _Assignment, event: Failed) -> None:
        assignment.failed.add(event.chunk)
        chunk = assignment.unit.chunks[event.chunk]
        if not chunk.whole:
            if chunk.entry.path in self._failed_in_part:
                return
            self._failed_in_part.add(chunk.entry.path)
        text = f"{escaped(chunk.entry.path, limit=200)}: {event.message or event.fault.value}"
        self._stats.note(event, text)
        log_fault(sum(self._stats.faults.values()), text, event.hint)

    def _note_lost(self, stream: _Stream, lost: ConnectionLost, *, is_local: bool = False) -> None:
        """Go on if it is worth it; `is_local`: this machine failed, not the connection."""
        other_streams = [
            other for other in self._streams if other is not stream and not other.closing
        ]
        stream.closing, self._last_lost = True, lost.reason
        self._failures += 1
        log.log(
            logging.INFO if other_streams else logging.WARNING, "a stream was lost: %s", lost.reason
        )
        if not stream.ready and other_streams:
            self._tuner.refused(len(other_streams))
        connected = is_local or any(other.ready for other in self._streams) or self._moved
        if not other_streams and (not connected or lost.distrust or self._failures > _MAX_TRIES):
            self._stats.lost = lost
            return
        wait = min(2.0 ** (self._failures - 1), 10.0)
        self._not_before = time.monotonic() + wait
        if not other_streams:
            log.warning("no stream is left; connecting again in %s", duration(wait))

    def _end_hung(self) -> None:
        """End the streams that sent nothing for `timeout` seconds."""
        now = time.monotonic()
        pause = now - self._checked_at
        self._checked_at = now
        timeout = self._worker_pool.remote.timeout
        for stream in list(self._streams):
            if pause > _PAUSE_SECONDS:  # we did not read their messages
                stream.last_active += pause
            if now - stream.last_active > (_STOP_TIMEOUT if stream.reported_end else timeout):
                self._end(stream)

    def _end(self, stream: _Stream) -> None:
        """End a stream that hangs; it is not waited for, even if it cannot be killed."""
        if not stream.closing and self._stats.broken is None:
            state = stream.worker.process.state
            detail = f" ({state})" if state else ""
            seconds = self._worker_pool.remote.timeout
            hung = ConnectionLost(f"its process stood still for {seconds} s{detail}", _STILL_HINT)
            self._note_lost(stream, hung, is_local=True)
        self._reap(stream, 0.0)

    def _reap(self, stream: _Stream, grace: float) -> None:
        """A stream has ended; another does the rest of its work."""
        self._streams.remove(stream)
        code = stream.worker.process.end(grace)
        self._moved -= stream.at_risk
        if not stream.closing and self._stats.broken is None:
            self._note_lost(stream, ConnectionLost(f"its process died (exit code {code})", None))
        for number, assignment in stream.assignments.items():
            remaining = assignment.remaining()
            self._deaths[number] += stream.ready and not assignment.durable
            if self._deaths[number] > _MAX_TRIES:
                first_path = escaped(assignment.unit.chunks[0].entry.path, limit=200)
                message = (
                    f"{count(self._deaths[number], 'stream')} were lost at the same files, "
                    f"the first of them {first_path}; the last: {self._last_lost}"
                )
                self._stats.broken = LocalFailure(message, None)
            elif remaining:
                self._returned.append(WorkUnit(number, tuple(remaining)))

    def _adjust(self) -> None:
        now = time.monotonic()
        alive = [stream for stream in self._streams if stream.ready and not stream.closing]
        self._tuner.measure(now, len(alive), self._moved)
        if now - self._checked_waiting_at > 1.0:
            self._checked_waiting_at = now
            if connection_limit.has_waiting(self._worker_pool.remote):
                self._tuner.give_up_one(len(alive))
        self._report()

    def _report(self) -> None:
        self._reported = max(self._reported, self._moved)  # lost bytes are fetched again
        self._stats.bytes = self._moved
        self._on_progress(self._reported, self._stats.files)

    def _close(self, stop: Stop) -> None:
        """End all streams; those that were stopped make durable what they have."""
        for stream in self._streams:
            if stream.assignments or not stream.ready:
                stream.worker.process.ask_to_stop()
            elif not stream.closing:
                self._finish_stream(stream)
            stream.closing = True
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self._streams and time.monotonic() < deadline and not stop.forced:
            self._receive_all()
        for stream in self._streams:
            stream.worker.close()
        self._streams.clear()
