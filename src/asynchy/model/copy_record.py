"""A copy of an experiment as the catalogue knows it, and the state that follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from asynchy.model.attempt import Claim, Verdict
from asynchy.model.clock import is_future
from asynchy.model.experiment import Copy, LeftOutCounts
from asynchy.model.verification import Level
from asynchy.model.visit import Beamtime


class CopyState(Enum):
    """The state of a copy; the value is the text for people."""

    NEVER = "never fetched"
    """No attempt was made for it."""
    IN_PROGRESS = "being fetched"
    """A process that is alive holds its lease."""
    INCOMPLETE = "not complete"
    """The latest attempt did not complete it, and nothing has found it complete since."""
    SUSPECT = "files are missing, or differ from the facility's"
    """It was complete until files were found missing, or to differ from the facility's."""
    STALE = "the facility has something newer"
    """It is complete as of a listing; a visit has ended, or a change was seen, since."""
    COMPLETE = "complete"


class Presence(Enum):
    """The entry at the place of a copy at home; the value completes "its folder …"."""

    THERE = "is there"
    MISSING = "is missing"
    FILE = "is not there: a file is in its place, or above it"
    EMPTY = "is empty"
    LINK = "is a symbolic link, which is not followed"
    UNREADABLE = "cannot be read"
    UNMOUNTED = "cannot be reached: the folder above it is missing, or has no copy"


@dataclass(frozen=True)
class LastAttempt:
    """The latest attempt for a copy, without the output of the programs."""

    ended: datetime
    verdict: Verdict
    reason: str | None
    """Why it did not complete the copy; None: it did."""


@dataclass(frozen=True)
class Replaced:
    """Earlier versions of files of a copy, kept beside it because the facility's took the place."""

    files: int = 0
    bytes: int = 0
    by_less: int = 0
    """Kept files whose place now has a smaller file, one with zeros instead of data, none, or one
    that was not compared whole."""

    def __add__(self, other: Replaced) -> Replaced:
        """All of both."""
        return Replaced(
            self.files + other.files, self.bytes + other.bytes, self.by_less + other.by_less
        )


NOTHING_REPLACED = Replaced()


@dataclass(frozen=True)
class CopyRecord:
    """All that the catalogue knows of one copy, but its files."""

    id: int
    """Its number in the catalogue."""
    copy: Copy
    completed: datetime | None
    """When it was last found complete; None: never, or files were found missing since."""
    listed: datetime | None
    """When the listing of the facility began that it was then compared with."""
    suspect: bool
    """Whether files were found missing, or to differ from the facility's, once complete."""
    level: Level | None
    """The weakest level of its files; None: nothing is proven, or it is not known what."""
    verified: datetime | None
    """When that was last established."""
    damaged: int
    """Files in which something was found wrong, those that are missing at home among them."""
    files: int | None
    """Of the facility's latest listing for it; None: there was none."""
    bytes: int | None
    attempts: int
    last: LastAttempt | None
    transfers: int = 0
    """The attempts in which an engine ran, so that something may be at its place."""
    audits: int = 0
    """Audits of it that came to their end."""
    audited: datetime | None = None
    """When the latest of all its audits ended."""
    last_audit: int = 0
    """The number of that among all checks; 0: there was none."""
    claim: Claim | None = None
    """The lease of a process that is alive."""
    forgotten: datetime | None = None
    """When a person forgot it: it need not be at its place any more; None: it must be."""
    forget_reason: str | None = None
    """The reason that the person gave."""
    losses: str | None = None
    """Files that the facility has lost, or has smaller, as text for people; None: none known."""
    missing: int = 0
    """The damaged files that are not there, or are something else."""
    lost_links: int = 0
    """Links and special files that it held and that are missing, or lead elsewhere."""
    edited: int = 0
    """Files that people changed at home; they are left alone."""
    replaced: Replaced = NOTHING_REPLACED
    replaced_at: datetime | None = None
    """When the latest of those was replaced; None: none ever was."""
    left_out: LeftOutCounts | None = None
    """Entries that are not brought home because of their kind; None: not counted."""
    presence: Presence = Presence.THERE
    """The entry at its place, as of the latest check."""
    mount: Path | None = None
    """The folder that is missing, or has no copy, if the place is unmounted; of a missing copy, the
    folder above it that is missing or empty, and in which there was no other. None: there is none.
    """

    @property
    def is_proven_by_content(self) -> bool:
        """Whether the content of each of its files was compared with the facility's."""
        return self.level is not None and self.level > Level.SIZE

    @property
    def is_damaged(self) -> bool:
        """Whether something that it held is damaged or missing."""
        return bool(self.damaged or self.lost_links)

    @property
    def unfinished(self) -> bool:
        """Whether the latest attempt did not complete it, and nothing found it complete since."""
        if self.last is None or self.last.verdict is Verdict.COMPLETE:
            return False
        return self.completed is None or self.completed <= self.last.ended

    @property
    def was_compared(self) -> bool:
        """Whether a listing of the facility was compared with it, for the project that owns it."""
        return self.files is not None and bool(self.copy.project)

    @property
    def was_complete(self) -> bool:
        """Whether it is complete, or was until files were found missing or different."""
        return self.completed is not None or self.suspect


def newer_at_facility(
    listed: datetime, visits: Sequence[Beamtime], changed: datetime | None, now: datetime
) -> str | None:
    """Why the facility may have newer files than the listing; None: no reason known.

    `visits` are those of the experiment, `changed` is when a scan last found something new in it.
    """
    if is_future(listed, now):
        return "it was last compared by a clock that was ahead"
    for item in visits:
        if item.visit.end > listed and item.visit.start <= now:
            ended = item.visit.end <= now
            return "a visit has ended since it was fetched" if ended else "a visit is running"
    if changed is not None and changed > listed:
        return "changes were seen at the facility since it was fetched"
    return None


def copy_state(
    record: CopyRecord | None,
    visits: Sequence[Beamtime],
    changed: datetime | None,
    now: datetime,
) -> CopyState:
    """The state of a copy; every command derives it here. Arguments as `newer_at_facility`."""
    if record is None or record.forgotten is not None:
        return CopyState.NEVER
    if record.claim is not None:
        return CopyState.IN_PROGRESS
    if record.suspect:
        return CopyState.SUSPECT
    if record.completed is None or record.listed is None:
        return CopyState.INCOMPLETE if record.attempts else CopyState.NEVER
    if newer_at_facility(record.listed, visits, changed, now) is not None:
        return CopyState.STALE
    return CopyState.INCOMPLETE if record.unfinished else CopyState.COMPLETE
