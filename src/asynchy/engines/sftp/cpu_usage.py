"""The processors that this process may use, and how much of them is idle."""

from __future__ import annotations

import os

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = slice(4, 6)
"""Idle, and waiting for a disk: proc_stat(5)."""


def cores() -> int:
    """How many there are."""
    return len(os.sched_getaffinity(0))


def idle_seconds() -> float:
    """Seconds that they have had nothing to do since the machine was started, added up."""
    own_cpus = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    idle = 0
    with open("/proc/stat", encoding="ascii") as lines:  # noqa: PTH123 - read every second
        for line in lines:
            if not line.startswith("cpu"):
                break
            fields = line.split()
            if fields[0] in own_cpus:
                idle += sum(map(int, fields[_IDLE]))
    return idle / _TICKS
