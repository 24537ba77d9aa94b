"""Connections for a few questions, kept for the next ones; and how far the server is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from asynchy.domain.stop import Stop
from asynchy.errors import ListingError
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.shelf import Shelf

_AT_ONCE = 5.0
"""Seconds within which a server refuses a connection because it has too many that are not logged in
yet (MaxStartups); the streams of a transfer may be among them."""
_PAUSE = 1.0

_shelves: dict[Remote, Shelf[Connection]] = {}
_lock = threading.Lock()
_round_trips: dict[Remote, float] = {}


@contextlib.contextmanager
def connection(remote: Remote, stop: Stop) -> Iterator[Connection]:
    """A connection that is kept for the next one afterwards, unless something went wrong in it.

    Raises:
        ListingError, SftpNotOffered, Stopped, ToolMissing: as `Connection`.
    """
    with _lock:
        shelf = _shelves.setdefault(remote, Shelf(remote))
    found = _idle(shelf, stop)
    if found is None:
        found = _opened(remote, stop)
        _round_trips[remote] = found.round_trip
    try:
        yield found
    except BaseException:
        found.close()
        raise
    shelf.put(found)


def close_all() -> None:
    """Close what is kept."""
    for shelf in list(_shelves.values()):
        shelf.close()


def round_trip(remote: Remote) -> float | None:
    """Seconds that a question and its answer took, as far as this process has asked anything."""
    return _round_trips.get(remote)


def remember_round_trip(remote: Remote, seconds: float) -> None:
    """Take it from another process of ours."""
    _round_trips[remote] = seconds


def _opened(remote: Remote, stop: Stop) -> Connection:
    """A new connection; tried twice where it is refused at once, as sshd does with some of many."""
    began = time.monotonic()
    found = Connection(remote, stop)
    try:
        found.open()
    except ListingError as error:
        soon = time.monotonic() - began < _AT_ONCE
        if not error.transient or not soon or stop.wait(_PAUSE):
            raise
        found = Connection(remote, stop)
        found.open()
    return found


def _idle(shelf: Shelf[Connection], stop: Stop) -> Connection | None:
    while (found := shelf.take()) is not None:
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
