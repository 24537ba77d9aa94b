"""Finds a process of a group that hangs: stopped, or in a call to a file system that hangs.

A process that runs, or wakes up now and then, gives up its processor again and again, and the
kernel counts that: proc(5). rsync wakes up at least every minute to look at its own time-out. ssh
may wait quietly for longer, so it counts only if it is stopped, or waits for a disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_RSYNC_WAKE_INTERVAL = 60.0  # seconds
"""Seconds after which rsync wakes up at the latest, if its time-out is not shorter: io.c."""
_MARGIN = 2.0  # seconds


@dataclass(frozen=True)
class _Seen:
    name: str
    state: str
    switches: int
    """How often it gave up its processor."""


class HangDetector:
    """Looks at a process group now and then."""

    def __init__(self, group: int, timeout: float, wakes: float | None = None) -> None:
        """Begin. `wakes`: the time-out of its rsync, if it is a different one."""
        self.limit = max(timeout, min(wakes or timeout, _RSYNC_WAKE_INTERVAL)) + _MARGIN
        """Seconds after which a process that did nothing counts as hanging."""
        self._group = group
        self._since: dict[int, tuple[int, float]] = {}
        """By process: the count, and since when it has not changed."""

    def find_hung(self) -> str | None:
        """The process that hangs, as text for people; None if none does."""
        now = time.monotonic()
        processes = {
            pid: process for pid in _group(self._group) if (process := _see(pid)) is not None
        }
        self._since = {
            pid: unchanged
            if (unchanged := self._since.get(pid)) is not None and unchanged[0] == process.switches
            else (process.switches, now)
            for pid, process in processes.items()
        }
        for pid, process in processes.items():
            hindered = process.state in "TtD" or (process.state == "S" and process.name == "rsync")
            if hindered and now - self._since[pid][1] > self.limit:
                return f"{process.name} (process {pid})"
        return None


def _group(group: int) -> list[int]:
    pids = []
    for stat_path in Path("/proc").iterdir():
        if stat_path.name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                if os.getpgid(int(stat_path.name)) == group:
                    pids.append(int(stat_path.name))
    return pids


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
