"""The tests' side of the portal: start it, fill it, make it go wrong, see what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from simulator.errors import SimulatorError
from simulator.portal.state import ACCOUNT
from simulator.processes import Process

OMIT = object()
"""As the value of an override: leave the field out."""

_MELBOURNE = timezone(timedelta(hours=10))
_PEOPLE = (
    {"first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example"},
    {"first_names": "Zoë Åsa", "last_name": "Nguyễn", "email": "zoe@uni.example"},
    {"first_names": "José", "last_name": "O'Brien-Müller", "email": "jose@uni.example"},
)


@dataclass(frozen=True)
class RecordedRequest:
    """One request that the portal was asked."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    """The HTTP status of the answer; -1 if no answer was begun (`reset`, `stall`)."""
    at: datetime
    equipment: int | None


class PortalHandle:
    """A portal in a process of its own."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.url = ""
        self.accounts = [dict(ACCOUNT)]
        self._tls = tls
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._next = 1000

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = Process("simulator.portal.process", [*map(str, self._tls or ())])
        first = self._process.output.readline()
        if not first:
            self.stop()
            raise SimulatorError("the portal does not start; the reason is on standard error")
        self.url = json.loads(first)["url"]

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def add_visit(
        self, *, equipment: int, epn: str | None, start: datetime, end: datetime, **overrides: Any
    ) -> dict[str, Any]:
        """Add a visit with all its fields; overrides replace some, or leave them out (`OMIT`)."""
        self._next += 1
        visit = {
            "id": self._next,
            "epn": epn,
            "start_time": start.astimezone(_MELBOURNE).isoformat(),
            "end_time": end.astimezone(_MELBOURNE).isoformat(),
            "equipment_id": equipment,
            "principal_scientist": {
                "id": 17,
                **_PEOPLE[0],
                "organisation": {"id": 3, "name_short": "UniX", "name_long": "University of X"},
            },
            "data_scientists": list(_PEOPLE),
            "proposal": {"title": "Structures of things", "type": {"name": "MX"}},
            **overrides,
        }
        visit = {key: value for key, value in visit.items() if value is not OMIT}
        self.add_raw_visit(equipment, visit)
        return visit

    def add_raw_visit(self, equipment: int, visit: object) -> None:
        """Add whatever is given as a visit."""
        self._order("add_visit", equipment=equipment, visit=visit)

    def clear_visits(self) -> None:
        """Forget all visits."""
        self._order("clear_visits")

    def set_fault(
        self,
        name: str | None,
        *,
        equipment: int | None = None,
        times: int | None = None,
        path: Literal["token", "visits"] | None = None,
        **parameters: Any,
    ) -> None:
        """Let answers go wrong (`faults.Fault`): all, or those of an equipment, path, so often.

        Of several faults the one set first comes first; None ends those of that equipment and path.
        """
        if name is None:
            self._order("clear_faults", equipment=equipment, path=path)
            return
        self._order(
            "set_fault",
            name=name,
            equipment=equipment,
            times=times,
            path=path,
            parameters=parameters,
        )

    def clear_faults(self) -> None:
        """Let everything go right again, stalled answers too."""
        self._order("clear_faults")

    def expire_tokens(self) -> None:
        """Let every token that was given out expire now."""
        self._order("expire_tokens")

    def expire_tokens_after(self, uses: int) -> None:
        """Let every token that was given out, and the next one, expire after `uses` uses."""
        self._order("expire_tokens_after", uses=uses)

    def one_session_per_user(self, one: bool) -> None:
        """Whether a new log-in ends older tokens; the real portal's behaviour is not known (no)."""
        self._order("one_session_per_user", one=one)

    def filter_by(self, way: Literal["overlap", "start"]) -> None:
        """Filter visits by "overlap" or by "start"; the real portal's behaviour is not known."""
        self._order("filter_by", way=way)

    def limit_windows(self, limited: bool) -> None:
        """Whether to refuse to answer for more than 31 days at once, as is the default."""
        self._order("limit_windows", limited=limited)

    def refuse_with(self, status: int) -> None:
        """The HTTP status of a refused log-in; the real portal's behaviour is not known (200)."""
        self._order("refuse_with", status=status)

    def requests(self) -> list[RecordedRequest]:
        """The requests to the portal, in order."""
        return [
            RecordedRequest(**{**item, "at": datetime.fromisoformat(item["at"])})
            for item in self._order("requests")
        ]

    def clear_requests(self) -> None:
        """Forget what it was asked."""
        self._order("clear_requests")

    def _order(self, do: str, **arguments: Any) -> Any:
        if self._process is None:
            raise SimulatorError("the portal does not run")
        with self._lock:
            self._process.input.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.input.flush()
            answer = json.loads(self._process.output.readline())
        if "error" in answer:
            raise SimulatorError(answer["error"])
        return answer["result"]
