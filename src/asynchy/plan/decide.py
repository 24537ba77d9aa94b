"""Whether one experiment is transferred: first by what is known, then by what was listed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.domain.attempt import Claim
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.text import count, moment, size
from asynchy.plan.outcome import Due, Left, LeftOut, Transfer, Why
from asynchy.plan.select import Candidate


@dataclass(frozen=True)
class Rules:
    """What the config says of where experiments lie and where their copies go."""

    epn_cap_map: dict[str, str]
    source_path: str
    destination_root: Path
    destination_path: str

    def copy_of(self, candidate: Candidate, project: str) -> Copy:
        """The copy of an experiment that the rules ask for."""
        names = {
            "project": project,
            "epn": candidate.experiment.epn.text,
            "beamline": candidate.experiment.beamline,
        }
        return Copy(
            experiment=candidate.experiment,
            project=project,
            source=self.source_path.format(**names),
            project_folder=self.destination_root / project,
            destination=self.destination_root / self.destination_path.format(**names),
        )


@dataclass(frozen=True)
class History:
    """What the catalogue knows of a copy."""

    attempts: int = 0
    doubted: bool = False
    """Whether files were found missing, or to differ from the facility's, once complete."""
    completed_listing: datetime | None = None
    """When the listing began of the attempt that completed the copy."""
    unfinished: bool = False
    """Whether its latest attempt did not complete it, and nothing found it complete since."""
    claim: Claim | None = None
    """A claim of another process that is alive."""


@dataclass(frozen=True)
class Room:
    """Free space for an unprivileged user at a destination; inodes None where not counted."""

    bytes: int
    inodes: int | None

    def less(self, survey: Survey) -> Room:
        """What is free once all that the survey misses is there."""
        entries = survey.missing_files + survey.missing_folders
        return Room(
            bytes=self.bytes - survey.missing_bytes,
            inodes=None if self.inodes is None else self.inodes - entries,
        )


def map_to_project(candidate: Candidate, rules: Rules) -> Copy | LeftOut:
    """The copy that is wanted of an experiment, or that nobody has said whose it is."""
    epn = candidate.experiment.epn
    project = rules.epn_cap_map.get(epn.proposal)
    if project is None:
        return LeftOut(epn, Left.UNMAPPED, f"proposal {epn.proposal}")
    return rules.copy_of(candidate, project)


@dataclass(frozen=True)
class SecondLook:
    """When an experiment that was completed is looked at once more: for what was written late."""

    now: datetime
    after: timedelta
    """Time after the end of its visit."""

    def is_due(self, visit_end: datetime, completed_listing: datetime) -> bool:
        """Whether it is; a listing made so long after the visit was that look."""
        return completed_listing - visit_end < self.after <= self.now - visit_end


def before_listing(  # noqa: PLR0913 - all that is known
    candidate: Candidate,
    copy: Copy,
    *,
    ignored: bool,
    history: History,
    folder_there: bool,
    second_look: SecondLook | None = None,
) -> Due | LeftOut:
    """Whether a copy is due, from all that is known without asking the facility for its files.

    Without a `second_look`, none is taken.
    """

    def left(reason: Left, detail: str = "") -> LeftOut:
        return LeftOut(copy.epn, reason, detail, copy.project)

    why = _why(candidate, ignored=ignored, history=history, second_look=second_look)
    if isinstance(why, Left):
        return left(
            why, f"fetched {moment(history.completed_listing)}" if history.completed_listing else ""
        )
    if not folder_there:
        return left(Left.NO_PROJECT_FOLDER, str(copy.project_folder))
    if history.claim is not None:
        return claimed(copy, history.claim)
    unsure = f"a visit of it could not be read: {candidate.unreadable}"
    return Due(copy, why, unsure if candidate.unreadable else None)


def claimed(copy: Copy, claim: Claim) -> LeftOut:
    """A copy left out because a process works on it."""
    detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
    return LeftOut(copy.epn, Left.CLAIMED, detail, copy.project)


def _why(
    candidate: Candidate, *, ignored: bool, history: History, second_look: SecondLook | None
) -> Why | Left:
    if history.doubted:
        return Why.DIFFERENT
    completed = history.completed_listing
    if completed is None:
        if ignored:
            return Left.IGNORED
        return Why.AGAIN if history.attempts else Why.NEW
    if not ignored:
        return Why.REMOVED
    if candidate.last_end > completed:
        return Why.RETURNED
    late = second_look is not None and second_look.is_due(candidate.last_end, completed)
    again = Why.AGAIN if history.unfinished else Left.COMPLETE
    return Why.LATE if late else again


def after_listing(due: Due, survey: Survey, room: Room) -> Transfer | LeftOut:
    """Whether a due copy fits; `room` is what is free once everything planned so far is there."""

    def left(reason: Left, detail: str) -> LeftOut:
        return LeftOut(due.copy.epn, reason, detail, due.copy.project)

    if survey.missing_bytes > room.bytes:
        return left(
            Left.NO_SPACE,
            f"{size(survey.missing_bytes)} to write, {size(max(room.bytes, 0))} free for it",
        )
    entries = survey.missing_files + survey.missing_folders
    if room.inodes is not None and entries > room.inodes:
        return left(
            Left.NO_INODES,
            f"{count(entries, 'file')} and folders to write, {max(room.inodes, 0):,} free for them",
        )
    return Transfer(due.copy, due.why, survey, due.unsure)
