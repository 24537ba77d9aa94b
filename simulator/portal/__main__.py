"""The portal's process: `python -m simulator.portal [CERTIFICATE KEY]`.

Prints its address as a line of JSON when it is ready, takes orders as lines of JSON on standard
input and answers each with one; ends when standard input ends.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from simulator.portal.faults import answer, send
from simulator.portal.state import State

_BASE = "/api/v1"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    state: State
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing; the tests ask for the requests."""

    def do_POST(self) -> None:
        """A log-in."""
        form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        if urlsplit(self.path).path != f"{_BASE}/oauth/token":
            self._note(send(self, 404, b'{"meta": {}}'))
            return
        name, _, password = self._basic().partition(":")
        token = None
        if form.get("grant_type") == "password":
            token = self.state.log_in({**form, "client_name": name, "client_password": password})
        refused: dict[str, Any] = {"meta": {"error_message": "invalid credentials"}}
        self._answer("token", None, {"data": {"access_token": token}} if token else refused)

    def do_GET(self) -> None:
        """Everything else."""
        parts = urlsplit(self.path).path.removeprefix(_BASE).strip("/").split("/")
        query = self._query()
        if not self.state.use(query.get("access_token", "")):
            self._note(send(self, 401, b'{"meta": {"error_message": "token expired"}}'))
            return
        match parts:
            case ["equipment", number, "visits"]:
                self._visits(int(number), query)
            case ["equipment", number]:
                self._answer("equipment", int(number), {"data": {"id": int(number), "name": "MX"}})
            case ["equipment", number, "proposals"]:
                self._answer("proposals", int(number), {"data": {"proposals": []}})
            case ["proposalAllocations", *_]:
                self._answer("allocations", None, {"data": {"visits": []}})
            case _:
                self._note(send(self, 404, b'{"meta": {}}'))

    def _visits(self, equipment: int, query: dict[str, str]) -> None:
        try:
            times = [datetime.fromisoformat(query[key]) for key in ("start_time", "end_time")]
        except (KeyError, ValueError):
            times = []
        if not times or any(time.tzinfo is None for time in times):
            self._note(send(self, 400, b'{"meta": {"error_message": "bad time"}}'), equipment)
            return
        visits = self.state.visits(equipment, *times)
        if visits is None:
            self._note(send(self, 400, b'{"meta": {"error_message": "too long"}}'), equipment)
            return
        self._answer("visits", equipment, {"data": {"visits": visits}})

    def _answer(self, path: str, equipment: int | None, good: dict[str, Any]) -> None:
        fault = self.state.fault(path, equipment)
        if fault is None:
            self._note(send(self, 200, json.dumps(good).encode()), equipment)
            return
        self._note(-1, equipment)
        try:
            answer(self, fault, good)
        except OSError:  # the other side has had enough
            self.close_connection = True

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _basic(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if scheme == "Basic" else ""

    def _note(self, status: int, equipment: int | None = None) -> None:
        self.state.note(
            {
                "method": self.command,
                "path": urlsplit(self.path).path,
                "query": self._query(),
                "status": status,
                "equipment": equipment,
            }
        )


class Server(ThreadingHTTPServer):
    """The server; its threads do not hold up its end."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break off are part of the play."""


def main(arguments: list[str]) -> int:
    """Serve until standard input ends."""
    Handler.state = State()
    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if arguments:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"{scheme}://127.0.0.1:{server.server_port}"}), flush=True)
    for line in sys.stdin:
        print(json.dumps(Handler.state.control(json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
