"""When this process last made progress, or waited for something with a limit.

Working code calls `beat` with each step; waiting code calls it while the wait has its own limit, or
a known reason: the next cycle, a connection that another process has. Nothing calls it while a file
system hangs.
"""

from __future__ import annotations

import time

_last = time.monotonic()


def beat() -> None:
    """Say that something got on; safe in any thread."""
    global _last  # noqa: PLW0603 - one for the process, as its watchdog is
    _last = time.monotonic()


def quiet() -> float:
    """Seconds since then."""
    return time.monotonic() - _last
