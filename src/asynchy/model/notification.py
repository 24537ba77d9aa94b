"""What was said of experiments in mails, and what there is to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class NotificationHistory:
    """What has been said of an EPN in mails that the mail server took."""

    first: datetime
    times: int


@dataclass(frozen=True)
class DataAtFacility:
    """What the catalogue knows of the data at the facility."""

    files: int
    bytes: int
