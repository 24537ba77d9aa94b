"""Which process of a group stands still: stopped, or in a call to a file system that hangs.

What runs, or wakes up now and then, gives up its processor again and again, and the kernel counts
that: proc(5). rsync wakes up at least every minute to look at its own time-out. ssh may wait
quietly for longer, so it counts only where it is stopped, or waits for a disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_WAKES = 60.0
"""Seconds after which rsync wakes up at the latest, where its time-out is not shorter: io.c."""
_MARGIN = 2.0


@dataclass(frozen=True)
class _Seen:
    name: str
    state: str
    switches: int
    """How often it gave up its processor."""


class StandingStill:
    """Looks at a process group now and then."""

    def __init__(self, group: int, timeout: float, wakes: float | None = None) -> None:
        """Begin. `wakes`: the time-out that its rsync has, where it is not the same."""
        self.limit = max(timeout, min(wakes or timeout, _WAKES)) + _MARGIN
        """Seconds after which a process that did nothing stands still."""
        self._group = group
        self._since: dict[int, tuple[int, float]] = {}
        """By process: what was counted, and since when it is the same."""

    def look(self) -> str | None:
        """The process that stands still, as text for people; None if there is none."""
        now = time.monotonic()
        found = {pid: seen for pid in _group(self._group) if (seen := _see(pid)) is not None}
        self._since = {
            pid: before
            if (before := self._since.get(pid)) is not None and before[0] == seen.switches
            else (seen.switches, now)
            for pid, seen in found.items()
        }
        for pid, seen in found.items():
            hindered = seen.state in "TtD" or (seen.state == "S" and seen.name == "rsync")
            if hindered and now - self._since[pid][1] > self.limit:
                return f"{seen.name} (process {pid})"
        return None


def _group(group: int) -> list[int]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                if os.getpgid(int(place.name)) == group:
                    found.append(int(place.name))
    return found


def _see(pid: int) -> _Seen | None:
    try:
        # A script of that name that waits for an rsync is none.
        name = Path(f"/proc/{pid}/exe").readlink().name
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.partition(":")[::2] for line in lines)
    switches = sum(int(values[f"{kind}voluntary_ctxt_switches"]) for kind in ("", "non"))
    return _Seen(name, values["State"].split()[0], switches)
