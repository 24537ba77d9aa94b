"""How many streams a transfer should have: found out by trying. No I/O.

A connection of OpenSSH carries about 2 MB a round trip, whatever runs in it (its channel window),
so that over a distance the rate grows with the streams until the link, a disk or the processors are
the limit. Near by one or two streams use all of that, and more only cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

CARRIED = 2_000_000
"""Bytes that a connection carries in a round trip."""
_AT_FIRST = 125_000_000
"""Bytes a second (1 Gbit/s) that are aimed at before anything has been measured."""
_NEAR = 2
"""Streams where the distance is no limit."""
_FAR = 0.004
"""Seconds of round trip from which on it is one."""
_FULL = 0.6
"""Of what the windows allow: a stream that moves that much is held up by nothing else."""
_WORTH = 1.1
"""By how much the rate must grow to be worth more streams."""
_LOOK = 1.0
_AGAIN = 60.0
"""Seconds after which it is tried again whether more streams pay."""


@dataclass
class Tuner:
    """Decides on the number of streams from what they move."""

    most: int
    """More are never wanted."""
    fixed: int | None = None
    """So many, where the config says it."""
    wanted: int = field(init=False)
    """How many there should be now."""
    _round_trip: float | None = None
    _since: float | None = None
    _had: int = 0
    _best: float = 0.0
    """Bytes a second with the number before."""
    _before: int = 0
    """That number; 0 while nothing is being tried."""
    _settled: float | None = None

    def __post_init__(self) -> None:
        self.wanted = min(self.most, self.fixed or _NEAR)

    def ready(self, round_trip: float) -> None:
        """A stream is connected, its round trip (in seconds) measured."""
        self._since = None  # what is measured begins anew
        if self._round_trip is not None:
            self._round_trip = min(self._round_trip, round_trip)
            return
        self._round_trip = round_trip
        if self.fixed is None and round_trip >= _FAR:
            streams = math.ceil(_AT_FIRST * round_trip / CARRIED)
            self.wanted = min(self.most, max(self.wanted, streams))

    def look(self, now: float, streams: int, moved: int) -> None:
        """So many streams have moved so many bytes since the transfer began."""
        if self.fixed is not None or self._round_trip is None or not streams:
            return
        if self._since is None:
            self._since, self._had = now + 4 * self._round_trip, moved  # while they gather speed
            return
        if now < self._since:
            self._had = moved
            return
        seconds = now - self._since
        if seconds < max(_LOOK, 8 * self._round_trip):
            return
        rate = (moved - self._had) / seconds
        self._since, self._had = now, moved
        if streams == self.wanted:
            self._decide(now, streams, rate)

    def refused(self, streams: int) -> None:
        """The server did not take a further stream: be content with those that there are."""
        if self.fixed is None:
            self.wanted = self.most = max(1, streams)

    def spare(self, streams: int) -> None:
        """Another transfer waits for a connection."""
        self.wanted = max(1, min(self.wanted, streams - 1))

    def _decide(self, now: float, streams: int, rate: float) -> None:
        assert self._round_trip is not None
        windows = streams * CARRIED / max(self._round_trip, 1e-4)
        if rate >= _FULL * windows:
            self._try(streams, rate)
        elif self._before:
            if rate < _WORTH * self._best:  # more did not pay
                self.wanted = self._before
                self._settled = now
            else:
                self._try(streams, rate)
                return
            self._before = 0
        elif self._settled is None or now - self._settled > _AGAIN:
            self._try(streams, rate)

    def _try(self, streams: int, rate: float) -> None:
        self._before, self._best = streams, rate
        self.wanted = min(self.most, streams + max(1, streams // 2))
        if self.wanted == streams:
            self._before = 0
