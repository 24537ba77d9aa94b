"""Which process this is, and whether one that left a claim still lives."""

from __future__ import annotations

import functools
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.model.attempt import Claim

STALE = timedelta(minutes=10)
"""A claim of another host without a heartbeat for this time counts as left behind."""


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def identity(pid: int) -> str | None:
    """Distinguishes a process from a later one with the same pid; None if there is none.

    proc(5): field 22 of /proc/PID/stat is the time the process started after boot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":  # dead, and not yet waited for
        return None
    return f"{_boot()}:{fields[19]}"


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_alive(claim: Claim, process: str, now: datetime) -> bool:
    """Whether the process of a claim still works on the copy, as far as can be known."""
    if claim.host == host():
        return identity(claim.pid) == process
    return now - claim.heartbeat < STALE


def may_live(on: str, pid: int, process: str) -> bool:
    """Whether a process may still be there; only of those of this machine one can tell."""
    return on != host() or identity(pid) == process


def own_process() -> tuple[int, str]:
    """This process's id and identity."""
    pid = os.getpid()
    return pid, identity(pid) or ""
