"""The tests' side of the portal: start it, fill it, make it go wrong, see what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parent.parent.parent
OMIT = object()
"""As the value of an override: leave the field out."""

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
    """What was answered; -1 for a fault."""
    at: datetime
    equipment: int | None


class PortalHandle:
    """A portal in a process of its own."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.url = ""
        self._tls = tls
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._next = 1000

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator.portal", *map(str, self._tls or ())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        )
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def add_visit(
        self, *, equipment: int, epn: str | None, start: datetime, end: datetime, **overrides: Any
    ) -> dict[str, Any]:
        """Add a visit with all its fields; overrides replace some, or leave them out (`OMIT`)."""
        self._next += 1
        visit = {
            "id": self._next,
            "epn": epn,
            "start_time": start.astimezone().isoformat(),
            "end_time": end.astimezone().isoformat(),
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
        self._order("visit", equipment=equipment, visit=visit)

    def clear_visits(self) -> None:
        """Forget all visits."""
        self._order("clear_visits")

    def set_fault(
        self,
        name: str,
        *,
        equipment: int | None = None,
        times: int | None = None,
        path: str | None = None,
        **parameters: Any,
    ) -> None:
        """Let answers go wrong (`faults.Fault`): all, or those of an equipment, path, so often."""
        self._order("fault", name=name, equipment=equipment, times=times, path=path, **parameters)

    def clear_faults(self) -> None:
        """Let everything go right again."""
        self._order("clear_faults")

    def expire_tokens(self) -> None:
        """Let every token that was given out expire now."""
        self._order("expire")

    def expire_tokens_after(self, uses: int) -> None:
        """Let the next token expire after so many uses."""
        self._order("expire_after", uses=uses)

    def filter_by(self, way: str) -> None:
        """Filter visits by "overlap" or by "start"; what the real one does is not known."""
        self._order("filter", by=way)

    def requests(self) -> list[RecordedRequest]:
        """What the portal was asked, in order."""
        return [
            RecordedRequest(**{**item, "at": datetime.fromisoformat(item["at"])})
            for item in self._order("requests")
        ]

    def clear_requests(self) -> None:
        """Forget what it was asked."""
        self._order("clear_requests")

    def _order(self, do: str, **arguments: Any) -> Any:
        assert self._process is not None and self._process.stdin and self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
