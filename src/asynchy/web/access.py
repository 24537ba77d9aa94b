"""Who a request is from: tokens, sessions, forms, and limits on log-ins.

A session is a cookie: who began it and until when, signed with a key that only the user of the
service can read. So sessions outlive a restart, and the catalogue holds nothing with which one
could be made. Revoking a token ends its sessions: each request looks whether it still counts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.errors import WebKeyRefused
from asynchy.model.access import Role

SESSION = timedelta(hours=12)
TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_PREFIX = "asy_"
_KEY_BYTES = 32
_TRIES = 10
"""Failed log-ins from one address in a minute; and for all addresses together ten times that."""
_WINDOW = 60.0
_REMEMBERED = 1000
"""Addresses of which failed log-ins are counted, and viewers whose requests are."""
_BURST, _A_SECOND = 300.0, 20.0
"""Requests of one viewer at once, and each second after that."""


@dataclass(frozen=True)
class Viewer:
    """Who a request is from."""

    name: str
    role: Role
    source: str
    """The address that the request came from."""
    form_key: str
    """What a form has to send back, so that no other site can send it."""
    has_session: bool
    """Whether there is a session that can be ended; otherwise the reverse proxy logs in."""

    @property
    def may_act(self) -> bool:
        """Whether they are an operator."""
        return self.role is Role.OPERATOR


def new_token() -> str:
    """The text of a token: 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def key_path(catalogue: Path) -> Path:
    """Where the key that signs sessions is: beside the catalogue."""
    return catalogue.with_name(f"{catalogue.name}.web-key")


def session_key(path: Path) -> bytes:
    """The key that signs sessions; made if there is none.

    Raises:
        WebKeyRefused: it cannot be read or made, or other users may read it.
    """
    try:
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(made, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            others = os.fstat(file.fileno()).st_mode & 0o077
            key = file.read(_KEY_BYTES + 1)
    except OSError as error:
        raise WebKeyRefused(
            f"the key of the dashboard's sessions cannot be used: {path}: {error.strerror}",
            hint="let the user that runs `asynchy web` write the folder of the catalogue",
        ) from None
    if others:
        raise WebKeyRefused(
            f"other users may read the key of the dashboard's sessions: {path}",
            hint=f"remove it: `rm {path}`; a new one is made, and everybody logs in again",
        )
    if len(key) != _KEY_BYTES:
        raise WebKeyRefused(
            f"the key of the dashboard's sessions is damaged: {path}",
            hint=f"remove it: `rm {path}`; a new one is made, and everybody logs in again",
        )
    return key


class Sessions:
    """Makes and reads session cookies, and the keys of forms."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def begin(self, token_name: str, now: datetime, until: datetime) -> str:
        """The cookie of a new session of a token; it ends after 12 hours, or with the token."""
        ends = min(now + SESSION, until)
        told = [token_name, int(ends.timestamp()), secrets.token_urlsafe(12)]
        body = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
        return f"{body}.{self._sign('session', body)}"

    def token_of(self, cookie: str, now: datetime) -> str | None:
        """The name of the token that a session began with; None: it is none, or has ended."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return None
        name, ends, _ = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return str(name) if now.timestamp() < ends else None

    def form_key(self, whose: str) -> str:
        """What forms send back in a session, or of somebody whom the reverse proxy named."""
        return self._sign("form", whose)

    def is_form_key(self, viewer: Viewer, sent: str) -> bool:
        """Whether a form sent what was given to this viewer."""
        return hmac.compare_digest(viewer.form_key.encode(), sent.encode())

    def _sign(self, purpose: str, text: str) -> str:
        made = hmac.new(self._key, f"{purpose}:{text}".encode("utf-8", "replace"), hashlib.sha256)
        return made.hexdigest()


class LoginLimit:
    """Counts failed log-ins, by address and in all; safe to use from several threads."""

    def __init__(self) -> None:
        self._failed: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def seconds_left(self, source: str) -> int:
        """How long an address has to wait before it may try again; 0: it may."""
        with self._lock:
            waits = [self._wait(source, _TRIES), self._wait("", 10 * _TRIES)]
        return max(waits)

    def failed(self, source: str) -> None:
        """A log-in failed."""
        with self._lock:
            if len(self._failed) > _REMEMBERED:
                everybody = self._failed[""]
                self._failed.clear()
                self._failed[""] = everybody
            for name in (source, ""):
                self._failed[name].append(time.monotonic())

    def _wait(self, name: str, most: int) -> int:
        times = self._failed.get(name)
        if times is None:
            return 0
        while times and times[0] < time.monotonic() - _WINDOW:
            times.popleft()
        return 0 if len(times) < most else int(times[-most] + _WINDOW - time.monotonic()) + 1


class RequestLimit:
    """Counts the requests of each viewer; safe to use from several threads.

    Each may ask `_BURST` times at once, and goes on with `_A_SECOND`.
    """

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        """By viewer how many requests were left, and when."""
        self._lock = threading.Lock()

    def seconds_left(self, name: str) -> int:
        """Count a request; how long the viewer has to wait before it is answered, 0: not at all."""
        now = time.monotonic()
        with self._lock:
            left, then = self._left.get(name, (_BURST, now))
            left = min(_BURST, left + (now - then) * _A_SECOND)
            if left < 1:
                return int((1 - left) / _A_SECOND) + 1
            if len(self._left) > _REMEMBERED:
                self._left.clear()
            self._left[name] = (left - 1, now)
        return 0


def now_utc() -> datetime:
    """The time now."""
    return datetime.now(UTC)
