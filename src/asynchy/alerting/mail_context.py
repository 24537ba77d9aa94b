"""The context of an alert in a mail: the site's templates, and further values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Templates:
    """The templates of a site; None: asynchy's own."""

    folder: Path | None = None
    text: str | None = None
    html: str | None = None


@dataclass(frozen=True)
class MailContext:
    """The values of a mail beside the alert itself."""

    command: str
    """How `asynchy` is called with this config."""
    days: int
    """Of the visits that were asked for."""
    due_days: int
    at_risk_days: int
    now: datetime
