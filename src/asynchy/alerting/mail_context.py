"""What surrounds an alert in a mail: the site's templates, and values beside the alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Templates:
    """The templates of a site; what is None comes with the package."""

    folder: Path | None = None
    text: str | None = None
    html: str | None = None


@dataclass(frozen=True)
class MailContext:
    """What a mail says beside the alert itself."""

    command: str
    """How `asynchy` is called with this config."""
    days: int
    """Of the visits that were asked for."""
    due_days: int
    at_risk_days: int
    now: datetime
