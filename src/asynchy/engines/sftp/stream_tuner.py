"""Finds the best number of streams for a transfer by trying. No I/O.

A connection of OpenSSH carries about 2 MB a round trip, whatever runs in it (its channel window),
so that over a distance the rate grows with the streams until the link, a disk or the processors are
the limit. Near by one or two streams use all of that, and more only cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

BYTES_PER_ROUND_TRIP = 2_000_000
"""Bytes that a connection carries in a round trip."""
_INITIAL_BYTE_RATE = 450_000_000  # bytes per second
"""Bytes a second to aim at before anything has been measured: the decryption rate of two cores,
plus two fifths, since a connection carries less than its window takes (docs/performance.md).
"""
_INITIAL_FILE_RATE = 10_000  # files per second
"""Files a second to aim at then: the rate at which two cores open, write and place them."""
_MIN_STREAMS = 2
"""Streams if the distance is not a limit, and there are processors for them."""
_CPUS_PER_STREAM = 2
"""Processors that a stream keeps busy near by: its own process and its ssh."""
_MIN_IDLE_CPUS = 0.5
"""Processors that must have nothing to do before a further stream is tried."""
_FILE_COST = 4096
"""The fixed cost of a file, in bytes."""
_LONG_ROUND_TRIP = 0.004  # seconds
"""Seconds of round trip from which on it is one."""
_FULL_USE = 0.6
"""Of what the windows allow: a stream that moves that much is held up by nothing else."""
_MIN_GAIN = 1.1
"""By how much the rate must grow to be worth more streams."""
_MIN_KEPT_RATE = 0.95
"""How much of the rate fewer streams must keep to be enough."""
_STREAM_MARGIN = 1.3
"""How many more streams there are than the windows alone would take."""
_CHECK_INTERVAL = 1.0  # seconds
_RETRY_INTERVAL = 60.0  # seconds
"""Seconds after which it is tried again whether more or fewer are better."""


def useful_streams(size: int, files: int) -> int:
    """How many streams are worth it for `size` bytes in `files` files.

    To connect one takes ten round trips or more: in that time, another carries as much.
    """
    return max(1, (size + files * _FILE_COST) // (10 * BYTES_PER_ROUND_TRIP))


def initial_streams(round_trip: float | None, cores: int, mean_file_bytes: float = math.inf) -> int:
    """How many streams to begin with, before anything was measured.

    `round_trip`: in seconds; `cores`: processors of this machine.
    """
    local_streams = max(1, min(_MIN_STREAMS, cores // _CPUS_PER_STREAM))
    if round_trip is None or round_trip < _LONG_ROUND_TRIP:
        return local_streams
    aimed = min(_INITIAL_BYTE_RATE, _INITIAL_FILE_RATE * mean_file_bytes)
    return max(local_streams, math.ceil(aimed * round_trip / BYTES_PER_ROUND_TRIP))


class _TuningTrial(Enum):
    MORE = "more"
    FEWER = "fewer"


@dataclass
class Tuner:
    """Decides on the number of streams from what they move."""

    max_streams: int
    """More are never wanted."""
    cores: int
    """Processors of this machine."""
    idle: Callable[[], float]
    """Seconds that those have had nothing to do since some time, added up."""
    fixed: int | None = None
    """The number that the config asks for; None: it asks for none."""
    round_trip: float | None = None
    """Seconds, if it is known already."""
    mean_file_bytes: float = math.inf
    """Bytes of a file, on average."""
    wanted: int = field(init=False)
    """How many there should be now."""
    _from: float | None = None
    """When what moves may be measured."""
    _since: float | None = None
    """When the measuring began, and the bytes that had arrived by then."""
    _moved_before: int = 0
    _was_idle: float = 0.0
    _trial: tuple[_TuningTrial, int, float] | None = None
    """The present trial, and the number and the rate (bytes a second) before it."""
    _to_try: list[_TuningTrial] = field(default_factory=lambda: list(_TuningTrial))
    _settled: float = 0.0

    def __post_init__(self) -> None:
        self.wanted = min(self.max_streams, self.fixed or self._initial_streams())

    def ready(self, round_trip: float) -> None:
        """A stream is connected, its round trip (in seconds) measured."""
        self._from = self._since = None  # measure again from the start
        if self.round_trip is None:
            self.round_trip = round_trip
            self.wanted = min(self.max_streams, self.fixed or self._initial_streams())
        self.round_trip = min(self.round_trip, round_trip)

    def measure(self, now: float, streams: int, moved: int) -> None:
        """Note that `streams` streams have moved `moved` bytes since the transfer began."""
        if self.fixed is not None or self.round_trip is None or not streams:
            return
        if self._from is None:
            self._from = now + 4 * self.round_trip  # while they gather speed
        if now < self._from:
            return
        if self._since is None:
            self._begin(now, moved)
            return
        seconds = now - self._since
        if seconds < max(_CHECK_INTERVAL, 8 * self.round_trip):
            return
        rate, idle = (
            (moved - self._moved_before) / seconds,
            (self.idle() - self._was_idle) / seconds,
        )
        self._begin(now, moved)
        if streams == self.wanted:
            self._decide(now, streams, rate, idle)

    def refused(self, streams: int) -> None:
        """The server did not take a further stream: be content with those that there are."""
        if self.fixed is None:
            self.wanted = self.max_streams = max(1, streams)

    def give_up_one(self, streams: int) -> None:
        """Want one stream less: another transfer waits for a connection."""
        self.wanted = max(1, min(self.wanted, streams - 1))

    def _initial_streams(self) -> int:
        return initial_streams(self.round_trip, self.cores, self.mean_file_bytes)

    def _begin(self, now: float, moved: int) -> None:
        """Measure from now on."""
        self._since, self._moved_before, self._was_idle = now, moved, self.idle()

    def _decide(self, now: float, streams: int, rate: float, idle: float) -> None:
        if self._trial is not None:
            self._judge(rate)
        elif not self._to_try and now - self._settled > _RETRY_INTERVAL:
            self._to_try = list(_TuningTrial)
        while self._trial is None and self._to_try and self.wanted == streams:
            trial = self._to_try[0]
            number = self._number(trial, streams, rate, idle)
            if number == streams:
                self._to_try.pop(0)
            else:
                self._trial, self.wanted = (trial, streams, rate), number
        if not self._to_try:
            self._settled = now

    def _judge(self, rate: float) -> None:
        """Keep what was tried, or go back."""
        assert self._trial is not None
        trial, streams_before, rate_before = self._trial
        self._trial = None
        if rate < rate_before * (_MIN_GAIN if trial is _TuningTrial.MORE else _MIN_KEPT_RATE):
            self.wanted = streams_before
            self._to_try.remove(trial)
        elif trial is _TuningTrial.FEWER:
            self._to_try.clear()

    def _number(self, trial: _TuningTrial, streams: int, rate: float, idle: float) -> int:
        """How many to try; `streams` if another number cannot be better."""
        assert self.round_trip is not None
        full = rate >= _FULL_USE * streams * BYTES_PER_ROUND_TRIP / self.round_trip
        if trial is _TuningTrial.MORE:
            if idle < _MIN_IDLE_CPUS:
                return streams
            # If the windows are not the limit, each stream needs a processor of its own.
            bound = self.max_streams if full else min(self.max_streams, streams + math.ceil(idle))
            return max(streams, min(bound, streams + max(1, streams // 2)))
        if full:
            return streams
        return min(
            streams,
            max(1, math.ceil(_STREAM_MARGIN * rate * self.round_trip / BYTES_PER_ROUND_TRIP)),
        )
