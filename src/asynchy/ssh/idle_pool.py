"""What holds a connection and has nothing to do, kept for a moment for who comes next.

To connect takes more than ten round trips; what an experiment needs besides often takes fewer.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from asynchy.ssh import connection_limit
from asynchy.ssh.server import Server

_KEPT = 15.0
"""Seconds that something is kept without work."""
_TICK = 0.5
"""Seconds between two looks whether somebody else waits for a connection."""
_FEW = 8
"""A machine that may have fewer connections than that needs each of them at once."""


class Closing(Protocol):
    """What can be kept."""

    def close(self) -> None:
        """End it, and its connection."""


T = TypeVar("T", bound=Closing)


@dataclass(eq=False)
class _IdleItem(Generic[T]):
    item: T
    taken: threading.Event = field(default_factory=threading.Event)


class IdlePool(Generic[T]):
    """What is kept for one server; for several threads."""

    def __init__(self, remote: Server) -> None:
        self._remote = remote
        self._kept: list[_IdleItem[T]] = []
        self._lock = threading.Lock()
        _pools.add(self)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def open(self) -> bool:
        """Whether anything may be kept now."""
        return self._remote.connections >= _FEW and not connection_limit.wanted(self._remote)

    def put(self, item: T) -> None:
        """Keep something; it is closed where nobody takes it soon, or somebody else waits."""
        if not self.open:
            item.close()
            return
        kept = _IdleItem(item)
        with self._lock:
            self._kept.append(kept)
        threading.Thread(target=self._watch, args=(kept,), daemon=True).start()

    def take(self) -> T | None:
        """What was kept last; None if there is nothing."""
        with self._lock:
            if not self._kept:
                return None
            kept = self._kept.pop()
        kept.taken.set()
        return kept.item

    def close(self) -> None:
        """Close all that is kept."""
        while (item := self.take()) is not None:
            item.close()

    def _watch(self, kept: _IdleItem[T]) -> None:
        for _ in range(round(_KEPT / _TICK)):
            if kept.taken.wait(_TICK):
                return
            if connection_limit.wanted(self._remote):
                break
        with self._lock:
            if kept not in self._kept:
                return
            self._kept.remove(kept)
        kept.item.close()


_pools: weakref.WeakSet[IdlePool[Any]] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """Close what all pools of this process keep."""
    for pool in list(_pools):
        pool.close()
