"""Messages for people and other programs, and their delivery state.

A `Condition` holds for some time: each channel gets one message when it begins. An `Arrival` is an
event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from asynchy.model.backoff import Backoff
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Level

MAIL = "mail"
"""The channel of epnalert's mails."""
ACTIVITY_MAIL = "activity mail"
"""The channel of the mails of `asynchy report activity`."""
_BACKOFF = Backoff(first=60, longest=6 * 3600)


class NewsKind(Enum):
    """The kind of message; the value is stored, and used in the config."""

    CAME_HOME = "came-home"
    NEEDS_PERSON = "needs-person"
    UNKNOWN_EPN = "unknown-epn"
    AT_RISK = "at-risk"
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"
    """The portal or the facility's server could not be asked for hours, or can be asked again."""
    REPORT = "report"
    """A mail of epnalert or of `report activity`; no channel of the config asks for it."""


@dataclass(frozen=True)
class Condition:
    """Something that holds now, and that people should know."""

    kind: NewsKind
    key: str
    """The same as long as it is the same condition."""
    text: str
    """In one sentence, without a person's name."""
    experiment: Experiment | None = None
    project: str | None = None
    """The project; None: none is assigned, or it concerns all."""
    people: str = ""
    """The principal scientist, for channels that ask for people; empty: not known."""


@dataclass(frozen=True)
class Arrival:
    """A copy that was completed since this was last looked for."""

    copy_id: int
    attempt: int
    """Number of the latest attempt that was looked at."""
    after: int
    """The same of the time before; 0: never."""
    experiment: Experiment
    project: str
    source: str
    destination: Path
    completed: datetime
    files: int | None
    """Of the copy, at its latest listing."""
    bytes: int | None
    level: Level | None
    again: bool
    """Whether it had been complete before: more came, or files were repaired."""


@dataclass(frozen=True)
class Message:
    """Something that is to be delivered to one channel."""

    channel: str
    kind: NewsKind
    subject: str
    """Messages of one channel and subject are delivered in order."""
    created: datetime
    body: bytes
    message_id: str
    """The same in each try, so that a receiver can detect a second delivery."""
    not_before: datetime | None = None
    """It waits until then, for others that go together with it; None: it need not."""
    detail: dict[str, Any] | None = None
    """The marks to store after the delivery."""


@dataclass(frozen=True)
class WaitingMessage(Message):
    """A message in the outbox."""

    id: int = 0
    tries: int = 0
    """How often it was not delivered."""
    failing_since: datetime | None = None
    failed: datetime | None = None
    """When it was last not delivered."""
    error: str | None = None
    """Why."""
    exit_code: int | None = None
    """Of the command that was run for it; None: none was, or it was ended by the time limit."""

    def is_due(self, now: datetime) -> bool:
        """Whether its time has come; a time far ahead is of a wrong clock."""
        due = self.not_before
        return due is None or due <= now or due > now + timedelta(seconds=2 * _BACKOFF.longest)


def wait_after(tries: int) -> timedelta:
    """The wait after `tries` failed tries: a minute, then twice as long each time.

    Six hours at most.
    """
    return timedelta(seconds=_BACKOFF.seconds(tries))
