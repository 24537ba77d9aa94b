"""A relay between a client and a server that simulates network faults at an exact byte."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_BLOCK_BYTES = 1 << 16
_BURST_SECONDS = 0.02
"""Seconds of silence that the rate may make up for."""
_CLOSED = select.POLLHUP | select.POLLERR | select.POLLRDHUP


@dataclass(eq=False)
class _Way:
    """One direction of a connection."""

    source: socket.socket
    target: socket.socket
    counted: bool
    pending: bytes = b""


@dataclass(eq=False)
class _Link:
    """A connection: from the server first, then to it."""

    ways: tuple[_Way, _Way]
    frozen: bool = False


class Relay:
    """Carries TCP connections from a free port to a server's while the context lasts.

    `tell_after` tells when so many bytes have come from the server; where it is to `hold`, nothing
    passes until `let_go`, and whatever is done meanwhile is done at that byte.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        """Where it listens, at the same address."""
        self.rate: float | None = None
        """Bytes a second that come from the server at most; None: as many as can."""
        self.refused = 0
        """Connections that were reset because the server took none."""
        self._server = (host, port)
        self._links: list[_Link] = []
        self._left: int | None = None
        """Bytes still to come from the server until the event is set; None: it was set."""
        self._hold = False
        self._told = threading.Event()
        self._paid = 0.0
        """Until when the bytes that came have used up the rate."""
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        """Start."""
        self._listening = socket.create_server((self._server[0], 0), backlog=100)
        self.port = self._listening.getsockname()[1]
        self._woken, self._waking = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and reset what is open."""
        self._ended = True
        self._wake()
        self._thread.join()
        self._reset(list(self._links))
        for end in (self._listening, self._woken, self._waking):
            end.close()

    def tell_after(self, count: int, *, hold: bool) -> None:
        """Tell when so many more bytes have come from the server; until then all passes."""
        with self._lock:
            self._told.clear()
            self._left, self._hold = max(1, count), hold
        self._wake()

    def wait(self, seconds: float) -> bool:
        """Wait until they have come, so many seconds at most; whether they have."""
        return self._told.wait(seconds)

    def let_go(self) -> None:
        """Let everything pass, and report nothing more; frozen connections stay frozen."""
        with self._lock:
            self._left = None
        self._wake()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    @property
    def frozen(self) -> int:
        """How many open connections are frozen: those that a side gives up are closed."""
        return sum(link.frozen for link in list(self._links))

    def freeze(self, which: float | None = None) -> None:
        """Let nothing pass on one connection (0 is the oldest, 1 the latest), or on all of them."""
        with self._lock:
            for link in self._chosen(which):
                link.frozen = True
        self._wake()

    def thaw(self) -> None:
        """Let what is frozen go on."""
        with self._lock:
            for link in self._links:
                link.frozen = False
        self._wake()

    def reset(self, which: float | None = None) -> None:
        """Reset one connection, as `freeze` chooses it, or all, on both sides."""
        with self._lock:
            self._reset(self._chosen(which))
        self._wake()

    def _chosen(self, which: float | None) -> list[_Link]:
        if which is None or not self._links:
            return list(self._links)
        return [self._links[min(int(which * len(self._links)), len(self._links) - 1)]]

    def _wake(self) -> None:
        self._waking.send(b"x")

    @property
    def _held(self) -> bool:
        return self._left == 0 and self._hold

    def _serve(self) -> None:
        while not self._ended:
            ready = self._wait()
            with self._lock:
                if self._woken.fileno() in ready:
                    self._woken.recv(_BLOCK_BYTES)
                if self._listening.fileno() in ready:
                    self._accept()
                for link in list(self._links):
                    self._move(link, ready)

    def _wait(self) -> dict[int, int]:
        """The possible operations now, by descriptor."""
        wanted = {self._listening.fileno(): select.POLLIN, self._woken.fileno(): select.POLLIN}
        later = self._paid - time.monotonic() if self.rate else 0.0
        with self._lock:
            for link in [] if self._held else self._links:
                for way in link.ways:
                    if link.frozen:
                        wanted[way.source.fileno()] = select.POLLRDHUP
                    elif way.pending:
                        _add(wanted, way.target, select.POLLOUT)
                    elif not way.counted or later <= 0:
                        _add(wanted, way.source, select.POLLIN)
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        return dict(poll.poll(1 + 1000 * later if later > 0 else None))

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        try:
            server = socket.create_connection(self._server, timeout=30)
        except OSError:
            self.refused += 1
            _reset(client)
            return
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.append(_Link((_Way(server, client, True), _Way(client, server, False))))

    def _move(self, link: _Link, ready: dict[int, int]) -> None:
        if self._held:
            return
        try:
            if link.frozen:
                if any(ready.get(way.source.fileno(), 0) & _CLOSED for way in link.ways):
                    raise ConnectionError("given up")
                return
            for way in link.ways:
                if not (way.counted and self._held):
                    self._carry(way, ready)
        except OSError:
            self._links.remove(link)
            for way in link.ways:
                way.source.close()

    def _carry(self, way: _Way, ready: dict[int, int]) -> None:
        if not way.pending and ready.get(way.source.fileno()):
            most = min(_BLOCK_BYTES, self._left) if way.counted and self._left else _BLOCK_BYTES
            with contextlib.suppress(BlockingIOError):
                way.pending = way.source.recv(most)
                if not way.pending:
                    raise ConnectionError("closed")
            if way.counted:
                self._count(len(way.pending))
        if way.pending:
            with contextlib.suppress(BlockingIOError):
                way.pending = way.pending[way.target.send(way.pending) :]

    def _count(self, came: int) -> None:
        if self.rate:
            now = time.monotonic()
            self._paid = max(self._paid, now - _BURST_SECONDS) + came / self.rate
        if self._left:
            self._left -= came
            if not self._left:
                self._told.set()

    def _reset(self, links: Iterable[_Link]) -> None:
        for link in links:
            self._links.remove(link)
            for way in link.ways:
                _reset(way.source)


def _add(wanted: dict[int, int], end: socket.socket, event: int) -> None:
    wanted[end.fileno()] = wanted.get(end.fileno(), 0) | event


def _reset(end: socket.socket) -> None:
    # With no time to linger, the kernel sends RST in place of FIN.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
