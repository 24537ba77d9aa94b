"""An HTTP server that keeps what is sent to it: a chat, or another program of the site."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Runs in threads of this process while its block does."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers and body of each request."""
        self.status = 204
        """The HTTP status of its answers."""
        self.location: str | None = None
        """Where it sends those who post."""
        self.parts: Iterable[bytes] | None = None
        """The body of its answers, piece by piece; the header declares a terabyte."""
        self._ended = threading.Event()
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep the request."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(kept.status)
                if kept.location:
                    self.send_header("Location", kept.location)
                self.send_header("Content-Length", str(1 << 40 if kept.parts else 0))
                self.end_headers()
                with contextlib.suppress(OSError):
                    for part in kept.parts or ():
                        self.wfile.write(part)

            def do_GET(self) -> None:
                """Keep that it was asked for a page, and answer well."""
                kept.got.append((self.path, dict(self.headers.items()), b""))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Write nothing to the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def drip(self) -> Iterator[bytes]:
        """A byte now and then, without end."""
        while not self._ended.wait(0.2):
            yield b" "

    @property
    def texts(self) -> list[str]:
        """Title and text of each message that Apprise sent (`json://`)."""
        found = [json.loads(body) for _, _, body in self.got]
        return [f"{one['title']}\n{one['message']}" for one in found]
