"""When this process last got on with something, or waited for something that has a limit.

Whoever works calls `beat` with each step; whoever waits does so as long as the wait has a limit of
its own, or a reason that people know: the next cycle, a connection that another process has. A file
system that hangs is neither, and nothing is heard then.
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
