"""Pool of idle connections and processes: closed after 15 s, or when another process needs one.

To connect takes more than ten round trips; the rest of an experiment often takes fewer.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from asynchy.ssh import connection_limit
from asynchy.ssh.server import Server

_IDLE_TIMEOUT = 15.0  # seconds
"""Seconds that an idle item is kept."""
_POLL_INTERVAL = 0.5  # seconds
"""Seconds between two checks whether another process waits for a connection."""
_MIN_CONNECTIONS = 8
"""A machine that may have fewer connections than that needs each of them at once."""


class Closing(Protocol):
    """An item that can be kept."""

    def close(self) -> None:
        """End it, and its connection."""


T = TypeVar("T", bound=Closing)


@dataclass(eq=False)
class _IdleItem(Generic[T]):
    item: T
    taken: threading.Event = field(default_factory=threading.Event)


class IdlePool(Generic[T]):
    """The idle items of one server; safe for several threads."""

    def __init__(self, remote: Server) -> None:
        self._remote = remote
        self._items: list[_IdleItem[T]] = []
        self._lock = threading.Lock()
        _pools.add(self)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def open(self) -> bool:
        """Whether anything may be kept now."""
        return self._remote.connections >= _MIN_CONNECTIONS and not connection_limit.has_waiting(
            self._remote
        )

    def put(self, item: T) -> None:
        """Keep an item; it is closed if nobody takes it soon, or another process waits for one."""
        if not self.open:
            item.close()
            return
        idle_item = _IdleItem(item)
        with self._lock:
            self._items.append(idle_item)
        threading.Thread(target=self._watch, args=(idle_item,), daemon=True).start()

    def take(self) -> T | None:
        """The item that was kept last; None if there is none."""
        with self._lock:
            if not self._items:
                return None
            idle_item = self._items.pop()
        idle_item.taken.set()
        return idle_item.item

    def close(self) -> None:
        """Close all that is kept."""
        while (item := self.take()) is not None:
            item.close()

    def _watch(self, idle_item: _IdleItem[T]) -> None:
        for _ in range(round(_IDLE_TIMEOUT / _POLL_INTERVAL)):
            if idle_item.taken.wait(_POLL_INTERVAL):
                return
            if connection_limit.has_waiting(self._remote):
                break
        with self._lock:
            if idle_item not in self._items:
                return
            self._items.remove(idle_item)
        idle_item.item.close()


_pools: weakref.WeakSet[IdlePool[Any]] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """Close what all pools of this process keep."""
    for pool in list(_pools):
        pool.close()
