"""A proxy that records where it was asked to connect to."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class HttpProxy:
    """An HTTP proxy on a free port while the context lasts: CONNECT, and plain absolute URLs.

    `connections` are the "host:port" that it was asked for, in order; without the `login`
    (user:password), if there is one, the answer is 407.
    """

    def __init__(self, login: str = "") -> None:
        self._wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None
        self.connections: list[str] = []
        self.url = ""
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; tunnels that are open stay so until one of their ends closes."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _serve(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # either side may go away at any time
            request = b""
            while b"\r\n\r\n" not in request and (data := client.recv(4096)):
                request += data
            try:
                where, forwarded = _understood(request)
                host, _, port = where.rpartition(":")
                number = int(port)
            except ValueError:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                return
            if not self._may(request):
                client.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
                )
                return
            self.connections.append(where)
            try:
                server = socket.create_connection((host.strip("[]"), number), timeout=10)
            except OSError:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with server:
                server.settimeout(None)
                if forwarded is None:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(forwarded)
                _relay(client, server)

    def _may(self, request: bytes) -> bool:
        lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        given = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        return self._wanted is None or given.get("Proxy-Authorization") == self._wanted


def _understood(request: bytes) -> tuple[str, bytes | None]:
    """The target of a request, as "host:port", and the bytes to send there; None for a tunnel."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    if method == "CONNECT":
        return target, None
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"no URL for a proxy: {target}")
    resource = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    hop_by_hop = ("connection:", "proxy-")
    kept = [line for line in headers if not line.lower().startswith(hop_by_hop)]
    # The next request on this connection may lead elsewhere, so there is to be none.
    lines = [f"{method} {resource} {version}", *kept, "Connection: close", "", ""]
    return f"{parts.hostname}:{parts.port or 80}", "\r\n".join(lines).encode("latin-1") + body


def _relay(one: socket.socket, two: socket.socket) -> None:
    """Carry bytes both ways until one side closes."""
    other = {one: two, two: one}
    while True:
        for side in select.select([one, two], [], [])[0]:
            data = side.recv(1 << 16)
            if not data:
                return
            other[side].sendall(data)
