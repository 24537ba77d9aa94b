"""What holds from our first line on, before anything is loaded that takes time.

On a busy machine, to load `signal` (with `enum`) and `typing` takes as long as Python's own start.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in, while `signal` is Python
import sys
from types import TracebackType

hangups: list[int] = []
"""The SIGHUPs that came before anybody knew what they mean."""


def note_hangup() -> None:
    """Note a SIGHUP from now on, unless who started us had it ignored: nohup(1)."""
    if _signal.getsignal(_signal.SIGHUP) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGHUP, lambda number, _frame: hangups.append(number))


def end_without_traceback() -> None:
    """Have an interrupt that nobody handles, such as one while code is loaded, say nothing."""
    others = sys.excepthook

    def said(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            others(kind, error, trace)

    sys.excepthook = said
