"""How the portal can go wrong, on demand."""

from __future__ import annotations

import json
import socket
import struct
import time
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any


class Fault(StrEnum):
    """What goes wrong with an answer."""

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
    """The HTTP status `code`, with `retry_after` where given."""
    RESET = "reset"
    """The connection is reset."""
    REFUSE_CREDENTIALS = "refuse_credentials"
    """The log-in is refused."""
    STALL = "stall"
    """Nothing is sent for `seconds`."""
    DRIP = "drip"
    """A byte now and then, for ever."""
    PAGING = "paging"
    """A hint that there is more."""
    HUGE = "huge"
    """A body without end."""
    REDIRECT = "redirect"
    """302 to another host."""


_BODIES = {
    Fault.HTML: b"<!DOCTYPE html><html><body><h1>Under maintenance</h1></body></html>",
    Fault.MALFORMED: b"{'data': visits}",
    Fault.WRONG_SHAPE: b'{"data": []}',
    Fault.REFUSE_CREDENTIALS: b'{"meta": {"error_message": "invalid credentials"}}',
}


def answer(handler: BaseHTTPRequestHandler, fault: dict[str, Any], good: dict[str, Any]) -> None:
    """Answer a request with a fault instead of the good body."""
    kind = Fault(fault["name"])
    if kind in _BODIES:
        send(handler, 200, _BODIES[kind])
    elif kind in (Fault.TRUNCATED, Fault.CUT, Fault.PAGING):
        _twisted(handler, kind, good)
    elif kind is Fault.STATUS:
        after = fault.get("retry_after")
        headers = {} if after is None else {"Retry-After": str(after)}
        send(handler, int(fault["code"]), b'{"meta": {}}', headers=headers)
    elif kind is Fault.REDIRECT:
        elsewhere = {"Location": "http://elsewhere.example/?access_token=stolen"}
        send(handler, 302, b"", headers=elsewhere)
    elif kind is Fault.RESET:
        _reset(handler)
    elif kind is Fault.STALL:
        time.sleep(float(fault["seconds"]))
    else:
        _without_end(handler, slowly=kind is Fault.DRIP)


def _twisted(handler: BaseHTTPRequestHandler, kind: Fault, good: dict[str, Any]) -> None:
    if kind is Fault.PAGING:
        good = {**good, "meta": {"next": "/page/2"}}
    body = json.dumps(good).encode()
    whole = len(body)
    if kind is not Fault.PAGING:
        body = body[: whole // 2]
    send(handler, 200, body, length=whole if kind is Fault.TRUNCATED else None)


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> int:
    """Send an answer; its status."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.send_header("Connection", "close")
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True
    return status


def _reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _without_end(handler: BaseHTTPRequestHandler, *, slowly: bool) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    block = b"[" if slowly else b"[" * (1 << 20)
    handler.close_connection = True
    while True:
        handler.wfile.write(block)
        if slowly:
            time.sleep(0.1)
