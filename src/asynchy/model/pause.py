"""That a person has paused the service: it fetches nothing until it is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asynchy.model.formatting import escaped, moment


@dataclass(frozen=True)
class Pause:
    """A pause that is in force."""

    since: datetime
    until: datetime | None
    """When it ends by itself; None: a person ends it."""
    reason: str
    """In that person's words; empty: none was given."""

    def __str__(self) -> str:
        until = f" until {moment(self.until)}" if self.until else ""
        why = f" ({escaped(self.reason)})" if self.reason else ""
        return f"paused since {moment(self.since)}{until}{why}"
