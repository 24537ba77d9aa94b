"""SIGTERM, SIGINT and SIGHUP: once to stop cleanly, twice to stop at once.

SIGHUP kills by default. A service takes it as the wish to look now, every other command as the end
of its terminal; so it is noted from the first moment on, until it is known which of both it is.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from asynchy.cli.first_moments import hangups
from asynchy.errors import ExitCode
from asynchy.model.cancellation import Stop

_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.HUNG_UP,
}


def end_on_interrupt() -> None:
    """Let SIGINT end the process with its exit code, until `Signals` takes it.

    Click would say `Aborted!`, and end with 1.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda _number, _frame: sys.exit(ExitCode.INTERRUPTED))


def on_hangup(do: Callable[[], None]) -> None:
    """Do something at each SIGHUP, also for one that has come already."""
    signal.signal(signal.SIGHUP, lambda _number, _frame: do())
    if hangups:
        hangups.clear()
        do()


class Signals:
    """Carries the first and the second signal to a `Stop`, and knows the exit code for it."""

    def __init__(self, stop: Stop, *, hangup: bool = True) -> None:
        """Begin; without `hangup`, SIGHUP is left to `on_hangup`."""
        self.exit_code = ExitCode.TERMINATED
        self._stop = stop
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heard)
        if hangup and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            on_hangup(lambda: self._heard(signal.SIGHUP, None))

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if not self._stop.requested:
            self.exit_code = _CODES[signal.Signals(number)]
        self._stop.request()
