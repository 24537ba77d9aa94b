"""A server that says something, and then the same byte again and again, for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_BETWEEN = 0.1
"""Seconds between two bytes."""


@contextlib.contextmanager
def dripping(
    begin: bytes, drop: bytes, after: bytes | None = None, reached: threading.Event | None = None
) -> Iterator[int]:
    """Serve one connection after another; the port.

    `after`: the line that a client sends before it drips, if it waits for one. Other lines are
    answered as a mail server does. `advance_to` is set once it drips.
    """
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if after is not None:
                _talk(connection, after)
            connection.sendall(begin)
            if reached is not None:
                reached.set()
            while not ended.wait(_BETWEEN):
                connection.sendall(drop)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def _talk(connection: socket.socket, until: bytes) -> None:
    connection.sendall(b"220 ready\r\n")
    with connection.makefile("rb") as lines:
        in_mail = False
        for line in lines:
            word = line.strip().upper()
            in_mail = in_mail and word != b"."
            if word.startswith(until):
                return
            if not in_mail:
                in_mail = word == b"DATA"
                connection.sendall(b"354 go on\r\n" if in_mail else b"250 yes\r\n")
