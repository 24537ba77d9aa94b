"""Several streams at work on one experiment: who does what, and what becomes of it.

The coordinator hands out bundles and hears what arrives. The death of a stream costs nothing but
what it had fetched and not yet made durable: the rest of its bundle is given to another.
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
"""How often in a row a lost connection is made again where nothing arrives meanwhile, and how many
streams a bundle may take with it."""
_PAUSE_SECONDS = 1.0
"""Seconds between two looks after which we had been stopped, or hung, ourselves."""
_STILL_HINT = "look at the file system of the project folder (`df`, `dmesg`), and at the processes"


@dataclass
class _Assignment:
    """A bundle that a stream works on."""

    bundle: WorkUnit
    there: dict[int, list[Extent]] = field(default_factory=dict)
    """What is durable, by the number of the piece."""
    failed: set[int] = field(default_factory=set)

    def rest(self) -> list[Chunk]:
        """What is still to be fetched of it."""
        found = []
        for number, piece in enumerate(self.bundle.pieces):
            there = self.there.get(number, [])
            if number in self.failed or (piece.whole and there):
                continue
            if piece.whole:
                found.append(piece)
                continue
            within = [(offset - piece.offset, length) for offset, length in there]
            for offset, length in missing(piece.length, within):
                found.append(replace(piece, offset=piece.offset + offset, length=length))
        return found


@dataclass(eq=False)
class _Stream:
    member: PooledWorker
    given: dict[int, _Assignment] = field(default_factory=dict)
    closing: bool = False
    told_end: bool = False
    """Whether it has said why it ends."""
    at_risk: int = 0
    """Bytes that arrived and are not durable."""
    heard: float = field(default_factory=time.monotonic)
    """When it last got on, or waited for a reason: a process that stands still says neither."""

    @property
    def ready(self) -> bool:
        """Whether it is connected."""
        return self.member.round_trip is not None


class Coordinator:
    """Fetches bundles with as many streams as pay.

    `on_durable` hears what is on the disk of each piece, and says whether that made a file whole.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - whom, what, how many, and who hears of it
        self,
        crew: WorkerPool,
        task: Task,
        bundles: Iterator[WorkUnit],
        tuner: Tuner,
        on_durable: Callable[[Chunk, Sequence[Extent]], bool],
        on_progress: OnProgress,
    ) -> None:
        self._crew = crew
        self._task = task
        self._bundles = bundles
        self._tuner = tuner
        self._on_durable = on_durable
        self._on_progress = on_progress
        self._ended = FetchStats()
        self._streams: list[_Stream] = []
        self._returned: deque[WorkUnit] = deque()
        self._failed_in_part: set[bytes] = set()  # files of which a piece failed: each counts once
        self._deaths: dict[int, int] = defaultdict(int)
        self._hungry: deque[_Stream] = deque()
        self._exhausted = False
        self._made = 0
        self._moved = 0
        self._shown = 0
        self._failures = 0
        """Connections in a row that were lost or not made, while nothing arrived."""
        self._last_lost = ""
        """Why the last of them was."""
        self._not_before = 0.0
        self._looked_for_waiting = 0.0
        self._looked = time.monotonic()

    def run(self, stop: Stop) -> FetchStats:
        """Fetch everything, or as much as can be had, until done or stopped.

        Raises:
            OSError: what is durable could not be recorded.
            CatalogueError: the bundles could not be read.
        """
        if (first := self._next()) is None:
            return self._ended
        self._returned.append(first)
        try:
            while not self._is_over() and not stop.requested:
                self._grow()
                self._feed()
                self._hear_all()
                self._end_still()
                self._look()
                heartbeat.beat()
        finally:
            self._close(stop)
        self._tell()
        return self._ended

    def _is_over(self) -> bool:
        ended = self._ended
        if ended.broken is not None or (ended.lost is not None and not self._streams):
            return True
        return self._exhausted and not self._returned and not any(s.given for s in self._streams)

    def _grow(self) -> None:
        """Start streams that are wanted, a few at a time."""
        alive = [stream for stream in self._streams if not stream.closing]
        starting = sum(not stream.ready for stream in alive)
        if time.monotonic() < self._not_before or (self._exhausted and not self._returned):
            return
        while len(alive) < self._tuner.wanted and starting < MAX_CONNECTING:
            if alive and not connection_limit.free(self._crew.remote):
                self._not_before = time.monotonic() + 1.0
                return
            self._made += 1
            stream = _Stream(self._crew.hire(patient=not alive))
            self._send(stream, replace(self._task, number=self._made))
            self._streams.append(stream)
            alive.append(stream)
            starting += not stream.ready

    def _feed(self) -> None:
        """Give bundles to those who have little left, or send them home."""
        while self._hungry:
            stream = self._hungry[0]
            if stream.closing or stream not in self._streams:
                self._hungry.popleft()
                continue
            if sum(not s.closing for s in self._streams) > self._tuner.wanted:
                self._send_home(stream)
                continue
            bundle = self._next()
            if bundle is None:
                if self._exhausted and not any(s.given for s in self._streams):
                    self._send_home(stream)
                    continue
                return  # what another gives back may still be for it
            self._hungry.popleft()
            stream.given[bundle.number] = _Assignment(bundle)
            self._send(stream, bundle)

    def _next(self) -> WorkUnit | None:
        if self._returned:
            return self._returned.popleft()
        found = None if self._exhausted else next(self._bundles, None)
        self._exhausted = found is None
        return found

    def _send_home(self, stream: _Stream) -> None:
        stream.closing = True
        self._send(stream, None)

    @staticmethod
    def _send(stream: _Stream, message: Task | WorkUnit | None) -> None:
        try:
            stream.member.companion.pipe.send(message)
        except OSError:
            return  # it has died, which is heard in a moment

    def _hear_all(self) -> None:
        streams = {id(stream.member.companion): stream for stream in self._streams}
        workers = [stream.member.companion for stream in streams.values()]
        for worker in wait_for_messages(workers, _POLL_INTERVAL):
            self._hear(streams[id(worker)])

    def _hear(self, stream: _Stream) -> None:
        pipe = stream.member.companion.pipe
        try:
            self._take(stream, pipe.recv())
            while stream in self._streams and pipe.poll():
                self._take(stream, pipe.recv())
        except (EOFError, ConnectionResetError):
            self._bury(stream, _STOP_TIMEOUT)
        except BlockingIOError:  # it stands still in the middle of a message
            self._end(stream)

    def _take(self, stream: _Stream, event: object) -> None:
        stream.heard = time.monotonic()
        match event:
            case Ready(round_trip):
                stream.member.round_trip = round_trip
                self._tuner.ready(round_trip)
                self._crew.session.note_round_trip(round_trip)
                log.debug("a stream is connected; round trip %.1f ms", 1000 * round_trip)
            case NeedsWork():
                self._hungry.append(stream)
            case Arrived(number):
                stream.at_risk += number
                self._moved += number
                self._failures = 0
            case Durable():
                self._note_durable(stream, event)
            case Done(number):
                del stream.given[number]
            case Failed():
                self._note_failed(stream.given[event.bundle], event)
            case Idle():
                self._streams.remove(stream)
                self._crew.release(stream.member)
            case ConnectionLost() | LocalFailure():
                self._note_end(stream, event)

    def _note_end(self, stream: _Stream, event: ConnectionLost | LocalFailure) -> None:
        stream.told_end = True
        if isinstance(event, ConnectionLost):
            self._note_lost(stream, event)
        else:
            self._ended.broken = self._ended.broken or event

    def _note_durable(self, stream: _Stream, event: Durable) -> None:
        stream.at_risk -= event.bytes
        self._ended.files += event.files
        given = stream.given[event.bundle]
        for number, extents in event.extents.items():
            piece = given.bundle.pieces[number]
            given.there.setdefault(number, []).extend(extents)
            self._ended.files += self._on_durable(piece, extents)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("sftp: %s", escaped(piece.entry.path))

    def _note_failed(self, given: _Assignment, event: Failed) -> None:
        given.failed.add(event.piece)
        piece = given.bundle.pieces[event.piece]
        if not piece.whole:
            if piece.entry.path in self._failed_in_part:
                return
            self._failed_in_part.add(piece.entry.path)
        told = f"{escaped(piece.entry.path, limit=200)}: {event.words or event.fault.value}"
        self._ended.note(event, told)
        log_fault(sum(self._ended.faults.values()), told, event.hint)

    def _note_lost(self, stream: _Stream, lost: ConnectionLost, *, here: bool = False) -> None:
        """Go on if that is worth it; `here`: it is this machine's fault, not the connection's."""
        others = [s for s in self._streams if s is not stream and not s.closing]
        stream.closing, self._last_lost = True, lost.reason
        self._failures += 1
        log.log(logging.INFO if others else logging.WARNING, "a stream was lost: %s", lost.reason)
        if not stream.ready and others:
            self._tuner.refused(len(others))
        connected = here or any(s.ready for s in self._streams) or self._moved
        if not others and (not connected or lost.distrust or self._failures > _MAX_TRIES):
            self._ended.lost = lost
            return
        wait = min(2.0 ** (self._failures - 1), 10.0)
        self._not_before = time.monotonic() + wait
        if not others:
            log.warning("no stream is left; connecting again in %s", duration(wait))

    def _end_still(self) -> None:
        """End the streams of which nothing was heard for `timeout` seconds."""
        now = time.monotonic()
        pause = now - self._looked
        self._looked = now
        timeout = self._crew.remote.timeout
        for stream in list(self._streams):
            if pause > _PAUSE_SECONDS:  # we did not listen
                stream.heard += pause
            if now - stream.heard > (_STOP_TIMEOUT if stream.told_end else timeout):
                self._end(stream)

    def _end(self, stream: _Stream) -> None:
        """End a stream that stands still; it is not waited for, even where it cannot be killed."""
        if not stream.closing and self._ended.broken is None:
            state = stream.member.companion.state
            why = f" ({state})" if state else ""
            seconds = self._crew.remote.timeout
            still = ConnectionLost(f"its process stood still for {seconds} s{why}", _STILL_HINT)
            self._note_lost(stream, still, here=True)
        self._bury(stream, 0.0)

    def _bury(self, stream: _Stream, grace: float) -> None:
        """A stream has ended; what it had not done is done by another."""
        self._streams.remove(stream)
        code = stream.member.companion.end(grace)
        self._moved -= stream.at_risk
        if not stream.closing and self._ended.broken is None:
            self._note_lost(stream, ConnectionLost(f"its process died (exit code {code})", None))
        for number, given in stream.given.items():
            rest = given.rest()
            self._deaths[number] += stream.ready and not given.there
            if self._deaths[number] > _MAX_TRIES:
                first = escaped(given.bundle.pieces[0].entry.path, limit=200)
                words = (
                    f"{count(self._deaths[number], 'stream')} were lost at the same files, "
                    f"the first of them {first}; the last: {self._last_lost}"
                )
                self._ended.broken = LocalFailure(words, None)
            elif rest:
                self._returned.append(WorkUnit(number, tuple(rest)))

    def _look(self) -> None:
        now = time.monotonic()
        alive = [stream for stream in self._streams if stream.ready and not stream.closing]
        self._tuner.look(now, len(alive), self._moved)
        if now - self._looked_for_waiting > 1.0:
            self._looked_for_waiting = now
            if connection_limit.has_waiting(self._crew.remote):
                self._tuner.spare(len(alive))
        self._tell()

    def _tell(self) -> None:
        self._shown = max(self._shown, self._moved)  # what was lost comes again
        self._ended.bytes = self._moved
        self._on_progress(self._shown, self._ended.files)

    def _close(self, stop: Stop) -> None:
        """End all streams; those that were stopped make durable what they have."""
        for stream in self._streams:
            if stream.given or not stream.ready:
                stream.member.companion.ask_to_stop()
            elif not stream.closing:
                self._send_home(stream)
            stream.closing = True
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self._streams and time.monotonic() < deadline and not stop.forced:
            self._hear_all()
        for stream in self._streams:
            stream.member.close()
        self._streams.clear()
