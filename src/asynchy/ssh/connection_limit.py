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

_TICK = 0.2
_WAITING = 16
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


def take(
    remote: Server,
    stop: Stop,
    *,
    patient: bool,
    on_wait: Callable[[], None] = heartbeat.beat,
) -> ConnectionPermit:
    """The right to one more connection; where there is none to be had, wait for it if `patient`.

    `on_wait` is called while it is waited for: another process may have it for hours.

    Raises:
        ListingError: there is none, and we do not wait.
        Stopped: a stop was requested meanwhile.
    """
    found = _first(remote, "held", remote.connections)
    if found is None and not patient:
        raise ListingError(f"all {remote.connections} connections of this machine are in use")
    if found is not None:
        return found
    waiting = _first(remote, "waited", _WAITING)
    try:
        while (found := _first(remote, "held", remote.connections)) is None:
            on_wait()
            if stop.wait(_TICK):
                raise Stopped("stopped while waiting for a connection")
        return found
    finally:
        if waiting is not None:
            waiting.release()


def free(remote: Server) -> bool:
    """Whether this machine may have one more connection, as things are now."""
    return in_use(remote) < remote.connections


def in_use(remote: Server) -> int:
    """How many connections this machine has, as things are now."""
    return sum(_is_taken(remote, "held", number) for number in range(remote.connections))


def wanted(remote: Server) -> bool:
    """Whether some process waits for a connection."""
    return any(_is_taken(remote, "waited", number) for number in range(_WAITING))


def _first(remote: Server, kind: str, most: int) -> ConnectionPermit | None:
    for number in range(most):
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
