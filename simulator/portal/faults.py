"""How the portal can go wrong, on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

NO_STATUS = -1
"""In place of the HTTP status of an answer that was never begun."""


class Fault(StrEnum):
    """A fault of an answer."""

    HTML = "html"
    """200 with an HTML page."""
    TRUNCATED = "truncated"
    """JSON cut in half, under a Content-Length of the whole."""
    CUT = "cut"
    """JSON cut in half, under a Content-Length that fits."""
    MALFORMED = "malformed"
    """200, and no JSON."""
    WRONG_SHAPE = "wrong_shape"
    """JSON without visits or token."""
    STATUS = "status"
    """The HTTP status `code` (500), with `retry_after` (seconds or an HTTP date) where given."""
    RESET = "reset"
    """The connection is reset."""
    REFUSE_CREDENTIALS = "refuse_credentials"
    """The log-in is refused, under the HTTP status `code` where given."""
    STALL = "stall"
    """Nothing is sent for `seconds` (an hour), or until the fault is cleared; then all is well."""
    DRIP = "drip"
    """A byte now and then, for ever: in the body, or `where` says so in the status line, the
    headers or the size of a chunk."""
    PAGING = "paging"
    """A hint that there is more."""
    HUGE = "huge"
    """A body without end."""
    ECHO = "echo"
    """What was asked, with its secrets: as the message of an error, or, where `html` is given, on
    a page; under the HTTP status `code` where given."""
    REDIRECT = "redirect"
    """302 to another host, or to `location`."""


@dataclass(eq=False)
class ActiveFault:
    """A fault that was asked for, and which requests meet it."""

    kind: Fault
    equipment: int | None
    path: str | None
    times: int | None
    parameters: dict[str, Any]
    cleared: threading.Event = field(default_factory=threading.Event)

    def concerns(self, path: str, equipment: int | None) -> bool:
        """Whether a request for `path`, of that equipment, meets this fault."""
        if self.kind is Fault.REFUSE_CREDENTIALS and path != "token":
            return False
        return self.path in (None, path) and self.equipment in (None, equipment)

    @property
    def status(self) -> int:
        """The HTTP status of the answer; `NO_STATUS` where the fault is that there is none."""
        match self.kind:
            case Fault.STATUS:
                return int(self.parameters.get("code", 500))
            case Fault.ECHO:
                return int(self.parameters.get("code", 200))
            case Fault.REFUSE_CREDENTIALS:
                return int(self.parameters["code"])
            case Fault.REDIRECT:
                return 302
            case Fault.RESET | Fault.STALL:
                return NO_STATUS
            case _:
                return 200


_BODIES = {
    Fault.MALFORMED: b"{'data': visits}",
    Fault.WRONG_SHAPE: b'{"data": []}',
    Fault.REFUSE_CREDENTIALS: b'{"meta": {"error_message": "invalid credentials"}}',
}
_PAGE = b"<!DOCTYPE html><html><body><h1>Under maintenance</h1></body></html>"
_ELSEWHERE = "http://elsewhere.example/?access_token=stolen"


_DRIPS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (b"HTTP/1.1 200 OK\r\nX-Padding: ", b"a"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "body": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"["),
}
"""The part that comes at once, and the byte that is then repeated."""


def answer(handler: BaseHTTPRequestHandler, fault: ActiveFault, good: dict[str, Any]) -> None:
    """Answer a request with a fault instead of the good body.

    Raises:
        OSError: the other side gave up.
    """
    match fault.kind:
        case Fault.HTML:
            send(handler, fault.status, _PAGE, headers={"Content-Type": "text/html"})
        case Fault.TRUNCATED | Fault.CUT | Fault.PAGING:
            _twisted(handler, fault.kind, good)
        case Fault.STATUS:
            after = fault.parameters.get("retry_after")
            headers = {} if after is None else {"Retry-After": str(after)}
            send(handler, fault.status, b'{"meta": {}}', headers=headers)
        case Fault.REDIRECT:
            location = str(fault.parameters.get("location", _ELSEWHERE))
            send(handler, fault.status, b"", headers={"Location": location})
        case Fault.ECHO:
            send(handler, fault.status, _quoted(handler, html="html" in fault.parameters))
        case Fault.RESET:
            _reset(handler)
        case Fault.STALL:
            fault.cleared.wait(float(fault.parameters.get("seconds", 3600)))
            send(handler, 200, json.dumps(good).encode())
        case Fault.DRIP | Fault.HUGE:
            _without_end(handler, fault)
        case _:
            send(handler, fault.status, _BODIES[fault.kind])


def _quoted(handler: BaseHTTPRequestHandler, *, html: bool) -> bytes:
    """What was asked; the secrets first, where who cuts it short cannot miss them."""
    words = " ".join((
        getattr(handler, "asked", ""), handler.path.rpartition("?")[2],
        handler.headers.get("Authorization", ""),
    ))  # fmt: skip
    if html:
        return words.encode()
    error = {"meta": {"error_message": words, "next": words}, "data": {"visits": []}}
    return json.dumps(error).encode()


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    """Send an answer, and close the connection; `length`: a wrong length to declare."""
    handler.close_connection = True
    handler.send_response(status)
    said = len(body) if length is None else length
    usual = {"Content-Type": "application/json", "Content-Length": str(said), "Connection": "close"}
    for name, value in {**usual, **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _twisted(handler: BaseHTTPRequestHandler, kind: Fault, good: dict[str, Any]) -> None:
    if kind is Fault.PAGING:
        good = {**good, "meta": {"next": "/page/2"}}
    body = json.dumps(good).encode()
    whole = len(body)
    if kind is not Fault.PAGING:
        body = body[: whole // 2]
    send(handler, 200, body, length=whole if kind is Fault.TRUNCATED else None)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    # With no time to linger, the kernel sends RST in place of FIN.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _without_end(handler: BaseHTTPRequestHandler, fault: ActiveFault) -> None:
    handler.close_connection = True
    slowly = fault.kind is Fault.DRIP
    block = b"[" * (1 << 20)
    if slowly:
        begun, block = _DRIPS[fault.parameters.get("where", "body")]
        handler.wfile.write(begun)
    else:
        handler.send_response(fault.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
    while not fault.cleared.wait(0.1 if slowly else 0):
        handler.wfile.write(block)
