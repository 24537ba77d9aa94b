"""A proxy that records where it was asked to connect to."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType
from typing import Self


class HttpProxy:
    """An HTTP proxy for CONNECT on a free port, while the context lasts."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        """Start."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client:
            request = b""
            while b"\r\n\r\n" not in request and (data := client.recv(4096)):
                request += data
            method, where, *_ = request.decode("latin-1").split(" ")
            if method != "CONNECT":
                client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
                return
            self.connections.append(where)
            host, _, port = where.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _relay(client, server)


def _relay(one: socket.socket, two: socket.socket) -> None:
    other = {one: two, two: one}
    while True:
        for side in select.select([one, two], [], [], 30)[0]:
            try:
                data = side.recv(1 << 16)
                other[side].sendall(data)
            except OSError:
                return
            if not data:
                return
