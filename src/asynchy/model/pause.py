"""A pause of the service by a person: it fetches nothing until it is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asynchy.errors import ServicePaused
from asynchy.model.formatting import escaped, moment

HOW_TO_END = "`asynchy resume` ends the pause"
"""The hint about a pause."""


@dataclass(frozen=True)
class Pause:
    """A pause that is in force."""

    since: datetime
    until: datetime | None
    """When it ends by itself; None: a person ends it."""
    reason: str
    """As the person gave it; empty: none."""

    @property
    def sentence(self) -> str:
        """The message that mxsync is paused, with the hint."""
        return f"mxsync is {self}; {HOW_TO_END}"

    def as_error(self) -> ServicePaused:
        """Why nothing is begun."""
        return ServicePaused(f"mxsync is {self}", hint=HOW_TO_END)

    def __str__(self) -> str:
        until = f" until {moment(self.until)}" if self.until else ""
        why = f" ({escaped(self.reason)})" if self.reason else ""
        return f"paused since {moment(self.since)}{until}{why}"
