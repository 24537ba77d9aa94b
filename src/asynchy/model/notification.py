"""The mail history of experiments, and the data for the next mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class NotificationHistory:
    """The history of an EPN in mails that the mail server took."""

    first: datetime
    times: int


@dataclass(frozen=True)
class DataAtFacility:
    """The recorded data at the facility."""

    files: int
    bytes: int
