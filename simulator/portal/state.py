"""The state of the portal: accounts, tokens, visits, faults, requests.

Tests call its public methods down to `requests` through `PortalHandle`.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.portal.faults import ActiveFault, Fault

ACCOUNT = {
    "username": "help@massive.org.au",
    "password": "portal-password-canary",
    "client_name": "asynchy-client",
    "client_password": "client-password-canary",
}
_MAX_WINDOW = timedelta(days=31)


class State:
    """All of it, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, int | None] = {}  # and how many uses each has left
        self._visits: list[tuple[int, Any]] = []
        self._faults: list[ActiveFault] = []
        self._requests: list[dict[str, Any]] = []
        self._uses: int | None = None
        self._by_start = False
        self._windows_limited = True
        self._one_session = False
        self.refusal = 200

    def add_visit(self, equipment: int, visit: Any) -> None:
        """Add a visit, without any check."""
        with self._lock:
            self._visits.append((equipment, visit))

    def clear_visits(self) -> None:
        """Forget all visits."""
        with self._lock:
            self._visits.clear()

    def set_fault(
        self,
        name: str,
        equipment: int | None,
        times: int | None,
        path: str | None,
        parameters: dict[str, Any],
    ) -> None:
        """Let answers go wrong, after the faults that were asked for before."""
        with self._lock:
            self._faults.append(ActiveFault(Fault(name), equipment, path, times, parameters))

    def clear_faults(self, equipment: int | None = None, path: str | None = None) -> None:
        """End all faults, or those set for that equipment and path; stalled answers go on."""
        with self._lock:
            for fault in list(self._faults):
                if equipment in (None, fault.equipment) and path in (None, fault.path):
                    fault.cleared.set()
                    self._faults.remove(fault)

    def expire_tokens(self) -> None:
        """Let every token that was given out expire now."""
        with self._lock:
            self._tokens.clear()

    def expire_tokens_after(self, uses: int) -> None:
        """Let every token that was given out, and the next one, expire after `uses` uses."""
        with self._lock:
            self._tokens = dict.fromkeys(self._tokens, uses)
            self._uses = uses

    def one_session_per_user(self, one: bool) -> None:
        """Whether a new log-in ends the tokens that the user was given before."""
        self._one_session = one

    def filter_by(self, way: str) -> None:
        """Filter visits by "overlap" with the time asked for, or by "start" within it."""
        if way not in ("overlap", "start"):
            raise ValueError(f"cannot filter by {way!r}")
        self._by_start = way == "start"

    def limit_windows(self, limited: bool) -> None:
        """Whether more than 31 days at once are refused."""
        self._windows_limited = limited

    def refuse_with(self, status: int) -> None:
        """The HTTP status under which wrong credentials are refused."""
        self.refusal = status

    def requests(self) -> list[dict[str, Any]]:
        """The requests, in order."""
        with self._lock:
            return list(self._requests)

    def clear_requests(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self._requests.clear()

    def note(self, request: dict[str, Any]) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append({**request, "at": datetime.now(UTC).isoformat()})

    def fault(self, path: str, equipment: int | None) -> ActiveFault | None:
        """The fault that a request meets, if any: the one that was set first."""
        with self._lock:
            for fault in self._faults:
                if not fault.concerns(path, equipment):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                if fault.kind is Fault.REFUSE_CREDENTIALS:
                    fault.parameters.setdefault("code", self.refusal)
                return fault
            return None

    def log_in(self, given: dict[str, str]) -> str | None:
        """A new token; None where the credentials are wrong."""
        if any(given.get(key) != value for key, value in ACCOUNT.items()):
            return None
        token = secrets.token_hex(16)
        with self._lock:
            if self._one_session:  # there is one user
                self._tokens.clear()
            self._tokens[token] = self._uses
            self._uses = None
        return token

    def use(self, token: str) -> bool:
        """Whether a token is good; it may have been its last use."""
        with self._lock:
            if token not in self._tokens:
                return False
            left = self._tokens[token]
            if left is not None:
                if left <= 0:
                    del self._tokens[token]
                    return False
                self._tokens[token] = left - 1
            return True

    def visits(self, equipment: int, start: datetime, end: datetime) -> list[Any] | None:
        """The visits of a piece of equipment; None where too much is asked for at once."""
        if self._windows_limited and end - start > _MAX_WINDOW:
            return None
        with self._lock:
            listed = [visit for at, visit in self._visits if at == equipment]
        return [visit for visit in listed if self._matches(visit, start, end)]

    def _matches(self, visit: Any, start: datetime, end: datetime) -> bool:
        try:
            begins = datetime.fromisoformat(visit["start_time"])
            ends = datetime.fromisoformat(visit["end_time"])
            if self._by_start:
                return start <= begins <= end
            return begins <= end and ends >= start
        except (TypeError, KeyError, ValueError):
            return True  # shows everything that the tests put there
