"""Connections for a few questions, kept for the next ones; and how far the server is."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from asynchy.errors import AsynchyError, ListingError, ServerBusy
from asynchy.model.cancellation import Stop
from asynchy.ssh.error_causes import PAUSES
from asynchy.ssh.idle_pool import IdlePool
from asynchy.ssh.server import Server
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

_AT_ONCE = 5.0
"""Seconds within which a server refuses a connection because it has too many that are not logged in
yet (MaxStartups); the streams of a transfer may be among them."""
_RISES = 1.03
"""How much further away the server may seem to be with each connection."""

_shelves: dict[Server, IdlePool[Connection]] = {}
_lock = threading.Lock()
_round_trips: dict[Server, float] = {}


@contextlib.contextmanager
def connection(remote: Server, stop: Stop) -> Iterator[Connection]:
    """A connection that is kept for the next one afterwards, unless something went wrong in it.

    Raises:
        ListingError, SftpNotOffered, Stopped, ToolMissing: as `Connection`.
    """
    shelf = _shelf(remote)
    found = _idle(shelf, stop)
    if found is None or not found.is_open:
        found = _opened(remote, stop, found)
        note_round_trip(remote, found.round_trip)
    try:
        yield found
    except BaseException:
        found.close()
        raise
    shelf.put(found)


def begin(remote: Server) -> None:
    """Begin to connect, for who asks for a connection in a moment, and hears what is wrong."""
    shelf = _shelf(remote)
    if shelf.open:
        with contextlib.suppress(AsynchyError):
            shelf.put(Connection(remote, Stop(), patient=False, listing=True))


def close_all() -> None:
    """Close what is kept."""
    for shelf in list(_shelves.values()):
        shelf.close()


def round_trip(remote: Server) -> float | None:
    """Seconds that a question and its answer take; None if nothing is known of it."""
    return _round_trips.get(remote)


def note_round_trip(remote: Server, seconds: float) -> None:
    """Take what was measured.

    A busy machine adds to it: 20 ms were measured as 34. It falls at once, and rises slowly.
    """
    known = _round_trips.get(remote, seconds)
    _round_trips[remote] = min(seconds, known * _RISES)


def remember_round_trip(remote: Server, seconds: float) -> None:
    """Take it from another process of ours."""
    _round_trips[remote] = seconds


def _shelf(remote: Server) -> IdlePool[Connection]:
    with _lock:
        return _shelves.setdefault(remote, IdlePool(remote))


def _opened(remote: Server, stop: Stop, begun: Connection | None) -> Connection:
    """A new connection; tried again where it is refused at once, as sshd does with some of many.

    Once, or, where the server closes it before the login, some times more.
    """
    found = begun or Connection(remote, stop, listing=True)
    for pause in PAUSES:
        began = time.monotonic()
        try:
            found.open(stop)
            return found
        except ListingError as error:
            soon = time.monotonic() - began < _AT_ONCE
            again = isinstance(error, ServerBusy) or pause == PAUSES[0]
            if not (error.transient and soon and again):
                raise
            if pause > PAUSES[0]:
                log.info("%s; trying again in %.0f s", error, pause)
            if stop.wait(pause):
                raise
        found = Connection(remote, stop, listing=True)
    found.open(stop)
    return found


def _idle(shelf: IdlePool[Connection], stop: Stop) -> Connection | None:
    """One that was kept, or begun and not opened yet."""
    while (found := shelf.take()) is not None:
        if not found.is_open:
            return found
        try:
            found.use(stop)
        except ListingError:  # it was lost meanwhile
            found.close()
        except BaseException:
            found.close()
            raise
        else:
            return found
    return None
