"""The wish to stop, as every part of the work hears it."""

from __future__ import annotations

import threading


class Stop:
    """Set once: finish cleanly, keep what was moved. Set twice: at once.

    Safe to set from a signal handler, to be waited on from any thread.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = threading.Event()

    def ask(self) -> None:
        """Ask to stop; the second time, to stop at once."""
        if self._asked.is_set():
            self._at_once.set()
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether anyone has asked."""
        return self._asked.is_set()

    @property
    def at_once(self) -> bool:
        """Whether it was asked twice."""
        return self._at_once.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until somebody asks; whether somebody did."""
        return self._asked.wait(seconds)
