"""How many connections this machine has to a server at a time, whatever commands run on it.

Each connection holds one of a number of names of abstract Unix sockets: unix(7). The kernel lets
one process have such a name, shows it to every process of the machine, and gives it up when the
process ends, however it ends. There is no file that could stay behind.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from asynchy.errors import ListingError, Stopped
from asynchy.model import heartbeat
from asynchy.model.cancellation import Stop
from asynchy.ssh.server import Server

_POLL_INTERVAL = 0.2  # seconds
_MAX_WAITING = 16  # processes
"""As many can be seen to wait."""


@dataclass
class ConnectionPermit:
    """The right to one connection, until it is released or the process ends; a context manager."""

    _name: socket.socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let another have it."""
        self._name.close()


def acquire(
    remote: Server,
    stop: Stop,
    *,
    patient: bool,
    on_wait: Callable[[], None] = heartbeat.beat,
) -> ConnectionPermit:
    """The right to one more connection; if all are in use, wait for one if `patient`.

    `on_wait` is called while waiting: another process may hold it for hours.

    Raises:
        ListingError: there is none, and we do not wait.
        Stopped: a stop was requested meanwhile.
    """
    permit = _bind_first(remote, "held", remote.connections)
    if permit is None and not patient:
        raise ListingError(f"all {remote.connections} connections of this machine are in use")
    if permit is not None:
        return permit
    waiting = _bind_first(remote, "waited", _MAX_WAITING)
    try:
        while (permit := _bind_first(remote, "held", remote.connections)) is None:
            on_wait()
            if stop.wait(_POLL_INTERVAL):
                raise Stopped("stopped while waiting for a connection")
        return permit
    finally:
        if waiting is not None:
            waiting.release()


def free(remote: Server) -> bool:
    """Whether this machine may have one more connection, as things are now."""
    return in_use(remote) < remote.connections


def in_use(remote: Server) -> int:
    """How many connections this machine has, as things are now."""
    return sum(_is_taken(remote, "held", number) for number in range(remote.connections))


def has_waiting(remote: Server) -> bool:
    """Whether some process waits for a connection."""
    return any(_is_taken(remote, "waited", number) for number in range(_MAX_WAITING))


def _bind_first(remote: Server, kind: str, limit: int) -> ConnectionPermit | None:
    for number in range(limit):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            name.bind(_address(remote, kind, number))
        except OSError as error:
            name.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return ConnectionPermit(name)
    return None


def _is_taken(remote: Server, kind: str, number: int) -> bool:
    """Whether some process has a name; to take it for the look would take it from another."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(_address(remote, kind, number))
        except ConnectionRefusedError:
            return False
        return True


def _address(remote: Server, kind: str, number: int) -> str:
    server = hashlib.sha256(f"{remote.host} {remote.port}".encode()).hexdigest()[:32]
    return f"\0asynchy {server} {kind} {number}"
