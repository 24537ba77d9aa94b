"""What the portal knows: accounts, tokens, visits, faults, and who asked for what."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

ACCOUNT = {
    "username": "help@massive.org.au",
    "password": "portal-password-canary",
    "client_name": "asynchy-client",
    "client_password": "client-password-canary",
}
_LONGEST = timedelta(days=31)


class State:
    """All of it, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, int | None] = {}
        self._visits: list[tuple[int, Any]] = []
        self._faults: list[dict[str, Any]] = []
        self._requests: list[dict[str, Any]] = []
        self._uses: int | None = None
        self._filter = "overlap"

    def control(self, order: dict[str, Any]) -> Any:
        """Carry out an order of the tests."""
        with self._lock:
            match order.pop("do"):
                case "visit":
                    self._visits.append((order["equipment"], order["visit"]))
                case "clear_visits":
                    self._visits.clear()
                case "fault":
                    self._faults.append(order)
                case "clear_faults":
                    self._faults.clear()
                case "expire":
                    self._tokens.clear()
                case "expire_after":
                    self._uses = order["uses"]
                case "filter":
                    self._filter = order["by"]
                case "requests":
                    return list(self._requests)
                case "clear_requests":
                    self._requests.clear()
            return None

    def note(self, request: dict[str, Any]) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append({**request, "at": datetime.now(UTC).isoformat()})

    def fault(self, path: str, equipment: int | None) -> dict[str, Any] | None:
        """The fault that a request meets, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.get("path") not in (None, path):
                    continue
                if fault["name"] == "refuse_credentials" and path != "token":
                    continue
                if fault.get("equipment") not in (None, equipment):
                    continue
                if fault.get("times") is not None:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self._faults.remove(fault)
                return fault
            return None

    def log_in(self, given: dict[str, str]) -> str | None:
        """A new token; None where the credentials are wrong."""
        if any(given.get(key) != value for key, value in ACCOUNT.items()):
            return None
        token = secrets.token_hex(16)
        with self._lock:
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
        if end - start > _LONGEST:
            return None
        with self._lock:
            listed = [visit for at, visit in self._visits if at == equipment]
            return [visit for visit in listed if self._matches(visit, start, end)]

    def _matches(self, visit: Any, start: datetime, end: datetime) -> bool:
        try:
            begins = datetime.fromisoformat(visit["start_time"])
            ends = datetime.fromisoformat(visit["end_time"])
            if self._filter == "start":
                return start <= begins <= end
            return begins <= end and ends >= start
        except (TypeError, KeyError, ValueError):
            return True  # whatever the tests put there is shown
