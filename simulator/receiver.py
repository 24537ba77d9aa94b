"""An HTTP server that keeps what is sent to it: a chat, or another program of the site."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Runs in threads of this process while its block does."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers and body of each request."""
        self.status = 204
        """What it answers."""
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep the request."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(kept.status)
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
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def texts(self) -> list[str]:
        """Title and text of each message that Apprise sent (`json://`)."""
        found = [json.loads(body) for _, _, body in self.got]
        return [f"{one['title']}\n{one['message']}" for one in found]
