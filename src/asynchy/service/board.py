"""What is going on right now, for everyone who shows it: bars, log lines, status, systemd."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.text import duration, size

_RATE_SECONDS = 10.0


@dataclass(frozen=True)
class Running:
    """A transfer that runs."""

    copy: Copy
    bytes: int
    """Bytes to fetch in this attempt."""
    done: int
    """Bytes that have arrived."""
    rate: float
    """Bytes a second over the last ten seconds."""

    @property
    def left(self) -> float | None:
        """Seconds that it will still take at this rate; None where that cannot be told."""
        return (self.bytes - self.done) / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        percent = 100 * self.done // self.bytes if self.bytes else 100
        rest = f", {duration(self.left)} left" if self.left is not None else ""
        return (
            f"{self.copy.epn} {percent} % of {size(self.bytes)} at {size(int(self.rate))}/s{rest}"
        )


@dataclass
class _Entry:
    copy: Copy
    bytes: int
    done: int = 0
    seen: deque[tuple[float, int]] = field(default_factory=deque)


class Board:
    """Written by the threads that work, read by those that show; all of it behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Copy, _Entry] = {}
        self._waiting = 0
        self._phase = "starting"
        self.next_look: datetime | None = None

    def phase(self, text: str) -> None:
        """Say what is done apart from transfers."""
        with self._lock:
            self._phase = text

    def waiting(self, count: int) -> None:
        """Say how many experiments wait for their turn."""
        with self._lock:
            self._waiting = count

    def begin(self, copy: Copy, survey: Survey) -> None:
        """A transfer begins, or begins again with another listing."""
        with self._lock:
            entry = self._entries[copy] = _Entry(copy, survey.missing_bytes)
            entry.seen.append((time.monotonic(), 0))

    def arrived(self, copy: Copy, done: int) -> None:
        """So many bytes of a transfer have arrived."""
        with self._lock:
            entry = self._entries[copy]
            # What rsync resumes counts in full, so it may have more than the listing missed.
            entry.done = min(done, entry.bytes)
            now = time.monotonic()
            entry.seen.append((now, entry.done))
            while len(entry.seen) > 2 and entry.seen[1][0] < now - _RATE_SECONDS:
                entry.seen.popleft()

    def end(self, copy: Copy) -> None:
        """A transfer has ended."""
        with self._lock:
            self._entries.pop(copy, None)

    def running(self) -> tuple[Running, ...]:
        """The transfers that run."""
        with self._lock:
            return tuple(_running(entry) for entry in self._entries.values())

    def line(self) -> str:
        """All of it in one line: `12282a 41 % of 812 GB, 2 waiting, next look 14:05`."""
        running = self.running()
        with self._lock:
            parts = [str(item) for item in running] or [self._phase]
            if self._waiting:
                parts.append(f"{self._waiting} waiting")
            if self.next_look is not None:
                parts.append(f"next look {self.next_look.astimezone():%H:%M}")
        return ", ".join(parts)


def _running(entry: _Entry) -> Running:
    (first, had), (_, has) = entry.seen[0], entry.seen[-1]
    # Up to now, not to the last word: a transfer that stands still slows down.
    seconds = time.monotonic() - first
    rate = (has - had) / seconds if seconds > 0 else 0.0
    return Running(entry.copy, entry.bytes, entry.done, rate)
