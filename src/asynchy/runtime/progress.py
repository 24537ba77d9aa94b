"""The progress of all running work, for bars, log lines, status and systemd."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from asynchy.model import heartbeat
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.formatting import count, duration, moment, size

_RATE_PERIOD = 10.0  # seconds
_MIN_POINT_DISTANCE = 0.1  # seconds
"""Seconds between two points that a rate is worked out from."""
_MIN_RATE_PERIOD = 1.0
"""Seconds that a rate is of at least: the first bytes come all at once."""
_SETTLE_PERIOD = 3.0  # seconds
"""Seconds after which a rate is good enough to estimate the remaining time."""


class RateMeter:
    """How far something is and how fast it goes."""

    def __init__(self, total: int = sys.maxsize, files: int = 0, doing: str = "") -> None:
        self.total = total
        """How much there is to do: bytes of a transfer."""
        self.done = 0
        """How much is done."""
        self.files = files
        """Files that there are to fetch."""
        self.files_done = 0
        self.doing = doing
        """The activity, if it is not fetching."""
        self.is_new = True
        """Whether nothing has been reported of it yet."""
        self._began = time.monotonic()
        self._points: deque[tuple[float, int]] = deque([(self._began, 0)])

    def start_at(self, done: int) -> None:
        """Start at `done`: it counts as done, but not for the rate."""
        self.done = min(done, self.total)
        self._began = time.monotonic()
        self._points = deque([(self._began, self.done)])

    def advance_to(self, done: int) -> None:
        """Note that `done` is reached."""
        # rsync counts resumed files in full, so there may be more than the listing missed.
        self.done = min(done, self.total)
        now = time.monotonic()
        if len(self._points) > 2 and now - self._points[-2][0] < _MIN_POINT_DISTANCE:
            self._points.pop()
        self._points.append((now, self.done))
        while len(self._points) > 2 and self._points[1][0] < now - _RATE_PERIOD:
            self._points.popleft()

    @property
    def rate(self) -> float:
        """How much a second over the last ten seconds."""
        (start_time, start_at), (_, end_value) = self._points[0], self._points[-1]
        # Up to now, not to the last report: the rate of a transfer that hangs falls.
        return (end_value - start_at) / max(time.monotonic() - start_time, _MIN_RATE_PERIOD)

    @property
    def settled(self) -> bool:
        """Whether it has run for long enough to estimate the remaining time."""
        return time.monotonic() - self._began >= _SETTLE_PERIOD


@dataclass(frozen=True)
class ProgressSnapshot:
    """How far something is at this moment: `41 % of 812 GB at 95 MB/s, 1 h 23 min left`."""

    bytes: int
    """Bytes to fetch."""
    done: int
    """Bytes that have arrived."""
    rate: float
    """Bytes a second over the last ten seconds."""
    files: int = 0
    """Files to fetch."""
    files_done: int = 0
    """Files that have arrived."""
    doing: str = ""
    """The activity, if it is not fetching: `verifying`."""
    settled: bool = True
    """Whether the rate is good enough to estimate the remaining time."""

    @classmethod
    def of(cls, meter: RateMeter) -> ProgressSnapshot:
        """The meter as it stands now."""
        return cls(
            meter.total, meter.done, meter.rate, meter.files, meter.files_done, meter.doing,
            meter.settled,
        )  # fmt: skip

    @property
    def left(self) -> float | None:
        """Seconds left at this rate; None if unknown, or nothing is left."""
        remaining = self.bytes - self.done
        return remaining / self.rate if remaining and self.rate > 0 and self.settled else None

    @property
    def speed(self) -> str:
        """The rate, and the time left if it is known."""
        time_left = f", {duration(self.left)} left" if self.left is not None else ""
        return f"{size(int(self.rate))}/s{time_left}"

    def __str__(self) -> str:
        percent = 100 * self.done // self.bytes if self.bytes else 100
        files = f", {self.files_done:,} of {count(self.files, 'file')}" if self.files else ""
        doing = f"{self.doing} " if self.doing else ""
        return f"{doing}{percent} % of {size(self.bytes)}{files} at {self.speed}"


def _time_text(time: datetime) -> str:
    """A time of today as `14:05`, another with its day."""
    local = time.astimezone()
    return (
        f"{local:%H:%M %Z}" if local.date() == datetime.now().astimezone().date() else moment(time)
    )


class ProgressBoard:
    """Written by the threads that work, read by those that show; all of it behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._meters: dict[Copy, RateMeter] = {}
        self._overall = RateMeter(0)
        self._finished = 0
        """Bytes that transfers brought which have ended."""
        self.moved = 0
        """Bytes that have arrived since the beginning, without those that were there before."""
        self._looking = True
        """Whether the run is about files that are read, since it has none to fetch."""
        self._waiting = 0
        self._phase = "starting"
        self.next_look: datetime | None = None
        self._beat = time.monotonic()

    def beat(self) -> None:
        """Note that the main loop is alive."""
        self._beat = time.monotonic()

    @property
    def quiet(self) -> float:
        """Seconds since the main loop last ran, or any thread made progress (`model.heartbeat`)."""
        return max(time.monotonic() - self._beat, heartbeat.quiet())

    def phase(self, text: str) -> None:
        """Say what is done apart from transfers."""
        with self._lock:
            self._phase = text

    def plan(self, total: int) -> None:
        """A run begins that has a number of bytes to fetch."""
        with self._lock:
            self._overall = RateMeter(total)
            self._finished = 0
            self._looking = total == 0

    def waiting(self, count: int) -> None:
        """Say how many experiments wait for their turn."""
        with self._lock:
            self._waiting = count

    def begin(self, copy: Copy, listing_diff: ListingDiff) -> None:
        """A transfer begins, or begins again with another listing."""
        with self._lock:
            again = copy in self._meters  # its new files are added
            self._begin(
                copy, RateMeter(listing_diff.missing_bytes, listing_diff.missing_files), added=again
            )

    def begin_reading(self, copy: Copy, files: int, total: int, doing: str) -> None:
        """Files of a copy are read again; `doing`: the activity.

        If the run has files to fetch, only those count for the total.
        """
        with self._lock:
            self._begin(copy, RateMeter(total, files, doing), added=self._looking)

    def _begin(self, copy: Copy, meter: RateMeter, *, added: bool) -> None:
        self._finished += self._counted(self._meters.get(copy))
        if added:
            self._overall.total += meter.total
        self._meters[copy] = meter

    def arrived(self, copy: Copy, received: int, files: int) -> None:
        """So many bytes and files of a transfer are at home, or have been read.

        The first report of a transfer, if it has no files, says what an earlier run left.
        """
        heartbeat.beat()
        with self._lock:
            meter = self._meters[copy]
            meter.files_done = min(files, meter.files)
            if meter.is_new and not meter.doing and not files:
                meter.start_at(received)
            meter.is_new = False
            earlier = meter.done
            meter.advance_to(received)
            if not meter.doing:
                self.moved += max(0, meter.done - earlier)
            if self._looking or not meter.doing:
                running = sum(map(self._counted, self._meters.values()))
                self._overall.advance_to(self._finished + running)

    def end(self, copy: Copy) -> None:
        """A transfer has ended."""
        with self._lock:
            self._finished += self._counted(self._meters.pop(copy, None))

    def _counted(self, meter: RateMeter | None) -> int:
        """The share of a meter in the total."""
        return meter.done if meter and (self._looking or not meter.doing) else 0

    def running(self) -> dict[Copy, ProgressSnapshot]:
        """The transfers that run."""
        with self._lock:
            return {copy: ProgressSnapshot.of(meter) for copy, meter in self._meters.items()}

    def overall(self) -> ProgressSnapshot:
        """The whole run."""
        with self._lock:
            return ProgressSnapshot.of(self._overall)

    def line(self) -> str:
        """All of it in one line: `12282a 41 % of 812 GB, 2 waiting, next look 14:05`."""
        running = self.running()
        with self._lock:
            parts = [f"{copy.epn} {item}" for copy, item in running.items()] or [self._phase]
            if self._waiting:
                parts.append(f"{self._waiting} waiting")
            if self.next_look is not None:
                parts.append(f"next look {_time_text(self.next_look)}")
        return ", ".join(parts)
