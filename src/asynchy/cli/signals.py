"""SIGTERM and SIGINT: once to stop cleanly, twice to stop at once."""

from __future__ import annotations

import signal
from types import FrameType

from asynchy.domain.stop import Stop
from asynchy.errors import ExitCode

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class Signals:
    """Carries the first and the second signal to a `Stop`, and knows the exit code for it."""

    def __init__(self, stop: Stop) -> None:
        self.exit_code = ExitCode.TERMINATED
        self._stop = stop
        for number in _CODES:
            signal.signal(number, self._heard)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if not self._stop.asked:
            self.exit_code = _CODES[signal.Signals(number)]
        self._stop.ask()
