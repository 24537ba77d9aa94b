"""Connections that are kept for a moment for who comes next, and what they tell of the way there.

To connect takes about ten round trips; to list an experiment before and after its transfer takes
few more. Who needs a connection soon after another has ended goes on with that one.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from asynchy.domain.stop import Stop
from asynchy.errors import ListingError
from asynchy.ssh import slots
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp.connection import Connection

_KEPT = 15.0
"""Seconds that a connection is kept without work."""
_TICK = 0.5
"""Seconds between two looks whether somebody else waits for it."""
_FEW = 8
"""A machine that may have fewer connections than that needs each of them at once."""


@dataclass(eq=False)
class _Idle:
    connection: Connection
    taken: threading.Event = field(default_factory=threading.Event)


_idle: defaultdict[Remote, list[_Idle]] = defaultdict(list)
_lock = threading.Lock()
_round_trips: dict[Remote, float] = {}


@contextlib.contextmanager
def connection(remote: Remote, stop: Stop) -> Iterator[Connection]:
    """A connection that is kept for the next one afterwards, unless something went wrong in it.

    Raises:
        ListingError, SftpNotOffered, Stopped, ToolMissing: as `Connection`.
    """
    found = _take(remote, stop)
    if found is None:
        found = Connection(remote, stop)
        found.open()
        _round_trips[remote] = found.round_trip
    try:
        yield found
    except BaseException:
        found.close()
        raise
    if remote.connections < _FEW or slots.wanted(remote):
        found.close()
    else:
        _keep(remote, found)


def round_trip(remote: Remote) -> float | None:
    """Seconds that a question and its answer took, as far as this process has asked anything."""
    return _round_trips.get(remote)


def remember_round_trip(remote: Remote, seconds: float) -> None:
    """Take it from another process of ours."""
    _round_trips[remote] = seconds


@atexit.register
def close_all() -> None:
    """Close what is kept."""
    with _lock:
        found = [idle for kept in _idle.values() for idle in kept]
        _idle.clear()
    for idle in found:
        idle.taken.set()
        idle.connection.close()


def _take(remote: Remote, stop: Stop) -> Connection | None:
    while True:
        with _lock:
            if not _idle[remote]:
                return None
            idle = _idle[remote].pop()
        idle.taken.set()
        try:
            idle.connection.use(stop)
        except ListingError:  # it was lost meanwhile
            idle.connection.close()
        except BaseException:
            idle.connection.close()
            raise
        else:
            return idle.connection


def _keep(remote: Remote, connection: Connection) -> None:
    idle = _Idle(connection)
    with _lock:
        _idle[remote].append(idle)
    threading.Thread(target=_watch, args=(remote, idle), daemon=True).start()


def _watch(remote: Remote, idle: _Idle) -> None:
    """Close a connection that nobody takes, or that another process waits for."""
    for _ in range(round(_KEPT / _TICK)):
        if idle.taken.wait(_TICK):
            return
        if slots.wanted(remote):
            break
    with _lock:
        if idle not in _idle[remote]:
            return
        _idle[remote].remove(idle)
    idle.connection.close()
