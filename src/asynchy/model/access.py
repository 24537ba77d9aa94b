"""Users of the dashboard: their roles, and the actions of operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """The rights of a user. The values are stored in the catalogue."""

    READER = "reader"
    """Look."""
    OPERATOR = "operator"
    """Look, and act: map an EPN, look now, pause, resume, release, fetch again."""


class Action(StrEnum):
    """The actions of an operator. The values are stored in the catalogue."""

    MAP = "map"
    NOW = "now"
    PAUSE = "pause"
    RESUME = "resume"
    RELEASE = "release"
    TAKE_BACK = "take back"
    REFETCH = "fetch again"


@dataclass(frozen=True)
class WebToken:
    """A token of the dashboard, without its text, which nobody knows but its owner."""

    name: str
    role: Role
    created: datetime
    expires: datetime
    revoked: datetime | None

    def state(self, now: datetime) -> str:
        """Whether it counts, for people."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if now < self.expires else "expired"


@dataclass(frozen=True)
class OperatorAction:
    """An entry of the audit trail."""

    at: datetime
    who: str
    source: str
    """The address that the request came from."""
    action: Action
    subject: str
    """Such as an EPN; empty: the service."""
    detail: str
    """Such as the project, or the reason that was given."""
    outcome: str
    """The result, as text for people."""
