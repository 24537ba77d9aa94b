"""The request to stop, which is passed to all work."""

from __future__ import annotations

import threading
import weakref


class Stop:
    """Set once: finish cleanly, keep what was moved. Set twice: at once.

    Safe to set from a signal handler, to be waited on from any thread.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._forced = threading.Event()
        self._children: weakref.WeakSet[Stop] = weakref.WeakSet()

    def request(self) -> None:
        """Request a stop; the second time, an immediate one."""
        if self._requested.is_set():
            self._forced.set()
        self._requested.set()
        for child in list(self._children):
            child.request()

    def child(self) -> Stop:
        """A request of its own for a part of the work: a request to stop all reaches it, too."""
        made = Stop()
        self._children.add(made)
        if self.requested:
            made.request()
        return made

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._requested.is_set()

    @property
    def forced(self) -> bool:
        """Whether it was requested twice."""
        return self._forced.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until a stop is requested, `seconds` at most; whether it was."""
        return self._requested.wait(seconds)
