"""How long a command takes, and how much memory its own process needs at most."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY = 50
"""Milliseconds between two looks at the memory."""
_ENDS_WITHIN = 5000
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Timed:
    """One command, run once."""

    seconds: float
    whole: bool
    """Whether it ended before the cap."""
    peak_bytes: int
    """The most memory its process held, without its children (VmHWM, when last looked at)."""


def timed(command: list[str], output: Path, cap: float | None = None) -> Timed:
    """Run it, its standard output into a file; after `cap` seconds it is ended with its children.

    Raises:
        RuntimeError: it failed; with the last of what it said.
    """
    errors = output.with_suffix(".err")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with output.open("wb") as out, errors.open("wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdout=out, stderr=err, start_new_session=True, env=environment
        )
    watch = os.pidfd_open(process.pid)
    try:
        peak, whole = _wait(process.pid, watch, began, cap)
        seconds = time.monotonic() - began
        if not whole:
            _end(process.pid, watch)
    finally:
        os.close(watch)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if whole and process.returncode:
        said = errors.read_text(errors="replace")[-1000:]
        raise RuntimeError(f"{command} ended with exit code {process.returncode}: {said}")
    return Timed(seconds, whole, peak)


def _wait(pid: int, watch: int, began: float, cap: float | None) -> tuple[int, bool]:
    """The peak of its memory, and whether it ended by itself."""
    ended = select.poll()
    ended.register(watch, select.POLLIN)
    peak = 0
    while not ended.poll(_LOOK_EVERY):
        if cap is not None and time.monotonic() - began > cap:
            return peak, False
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
        peak = max(peak, int(found[1]) * 1024) if found else peak
    return peak, True


def _end(pid: int, watch: int) -> None:
    ended = select.poll()
    ended.register(watch, select.POLLIN)
    os.killpg(pid, signal.SIGTERM)
    if not ended.poll(_ENDS_WITHIN):
        os.killpg(pid, signal.SIGKILL)
