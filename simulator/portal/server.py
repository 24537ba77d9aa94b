"""The portal's side of HTTP."""

from __future__ import annotations

import base64
import json
import ssl
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from simulator.portal.faults import answer, send
from simulator.portal.state import State

_BASE = "/api/v1"


class Server(ThreadingHTTPServer):
    """The portal on a free port; its threads do not hold up its end."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, state: State, certificate_and_key: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state
        scheme = "http"
        if certificate_and_key:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate_and_key)
            # The handshake is left to the thread of each connection: one must not hold up all.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break off are part of the play."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing; the tests ask for the requests."""

    def do_POST(self) -> None:
        """A log-in."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if urlsplit(self.path).path != f"{_BASE}/oauth/token":
            self._say(404, "not found")
            return
        try:
            self.asked = body.decode()
            form = dict(parse_qsl(self.asked, keep_blank_values=True))
            name, _, password = self._basic().partition(":")
        except ValueError:
            self._say(400, "bad request")
            return
        token = None
        if form.get("grant_type") == "password":
            given = {**form, "client_name": name, "client_password": password}
            token = self.server.state.log_in(given)
        if token is None:
            refused = {"meta": {"error_message": "invalid credentials"}}
            self._answer("token", None, refused, status=self.server.state.refusal)
        else:
            self._answer("token", None, {"data": {"access_token": token}})

    def do_GET(self) -> None:
        """Everything else."""
        query = self._query()
        if not self.server.state.use(query.get("access_token", "")):
            self._say(401, "token expired")
            return
        # Only of the visits is it known that they are below the base.
        match urlsplit(self.path).path.removeprefix(_BASE).split("/"):
            case ["", "equipment", number, "visits"] if number.isdecimal() and self.path.startswith(
                _BASE
            ):
                self._visits(int(number), query)
            case ["", "equipment", number] if number.isdecimal():
                named = {"data": {"id": int(number), "name": "MX"}}
                self._answer("equipment", int(number), named)
            case ["", "equipment", number, "proposals"] if number.isdecimal():
                self._answer("proposals", int(number), {"data": {"proposals": []}})
            case ["", "proposalAllocations", number] if number.isdecimal():
                self._answer("allocations", None, {"data": {"id": int(number)}})
            case ["", "proposalAllocations", number, "visits"] if number.isdecimal():
                self._answer("allocations", None, {"data": {"visits": []}})
            case _:
                self._say(404, "not found")

    def _visits(self, equipment: int, query: dict[str, str]) -> None:
        try:
            start, end = (_time(query[key]) for key in ("start_time", "end_time"))
        except (KeyError, ValueError):
            self._say(400, "bad time", equipment)
            return
        visits = self.server.state.visits(equipment, start, end)
        if visits is None:
            self._say(400, "more than 31 days", equipment)
            return
        self._answer("visits", equipment, {"data": {"visits": visits}})

    def _answer(
        self, path: str, equipment: int | None, good: dict[str, Any], *, status: int = 200
    ) -> None:
        """Answer with the good body, or with a fault if one was asked for."""
        fault = self.server.state.fault(path, equipment)
        if fault is None:
            self._note(status, equipment)
            send(self, status, json.dumps(good).encode())
        else:
            self._note(fault.status, equipment)
            answer(self, fault, good)

    def _say(self, status: int, message: str, equipment: int | None = None) -> None:
        self._note(status, equipment)
        send(self, status, json.dumps({"meta": {"error_message": message}}).encode())

    def _note(self, status: int, equipment: int | None) -> None:
        """Record the request before the answer, so that the client finds it recorded."""
        self.server.state.note(
            {
                "method": self.command,
                "path": urlsplit(self.path).path,
                "query": self._query(),
                "status": status,
                "equipment": equipment,
            }
        )

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _basic(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if scheme.lower() == "basic" else ""


def _time(text: str) -> datetime:
    """An ISO 8601 time with its zone; ValueError where it is none, or its `+` came as a blank."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or " " in text:
        raise ValueError(f"no time with a zone: {text!r}")
    return time
