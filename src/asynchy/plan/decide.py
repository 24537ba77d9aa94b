"""Whether one experiment that is due is transferred, by what was listed of it."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.domain.attempt import Claim
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.text import count, moment, size
from asynchy.plan.experiment_state import ExperimentState, State
from asynchy.plan.outcome import Due, Left, LeftOut, Transfer, Why


@dataclass(frozen=True)
class Room:
    """Free space for an unprivileged user at a destination; None: the file system does not say."""

    bytes: int | None
    inodes: int | None

    def less(self, survey: Survey) -> Room:
        """What is free once all that the survey misses is there."""
        entries = survey.missing_files + survey.missing_folders
        return Room(
            bytes=None if self.bytes is None else self.bytes - survey.missing_bytes,
            inodes=None if self.inodes is None else self.inodes - entries,
        )


def planned(item: ExperimentState) -> Due | LeftOut | None:
    """What a plan lists; None: there is nothing to do or to say about it by itself."""
    if item.left is None and item.state is State.DUE and item.wanted is not None:
        assert item.why is not None
        return Due(item.wanted, item.why)
    if item.left is None or item.state is State.SKIPPED:
        return None
    return LeftOut(item.experiment, item.left, item.reason, item.project)


class Places:
    """The places that the transfers of a plan fill, each by one experiment."""

    def __init__(self) -> None:
        self._filled: set[str] = set()

    def fill(self, transfer: Transfer) -> Transfer | LeftOut:
        """The transfer; or why not, if it would be mixed into another experiment's copy."""
        place = str(transfer.copy.destination)
        if place in self._filled:
            detail = (
                f"{place}; put {{beamline}} into destination-path, or into `asynchy sync --layout`"
            )
            return LeftOut(
                transfer.copy.experiment, Left.SAME_DESTINATION, detail, transfer.copy.project
            )
        self._filled.add(place)
        return transfer


def when_absent(due: Due) -> LeftOut:
    """What becomes of a due copy whose folder is not at the facility when it is listed."""
    if due.why is Why.LATE:
        gone = "it is no longer at the facility"
        return LeftOut(due.experiment, Left.COMPLETE, gone, due.copy.project)
    return LeftOut(due.experiment, Left.ABSENT, due.copy.source, due.copy.project)


def claimed(copy: Copy, claim: Claim) -> LeftOut:
    """A copy left out because a process works on it."""
    detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
    return LeftOut(copy.experiment, Left.CLAIMED, detail, copy.project)


def after_listing(due: Due, survey: Survey, room: Room) -> Transfer | LeftOut:
    """Whether a due copy fits; `room` is what is free once everything planned so far is there."""

    def left(reason: Left, detail: str) -> LeftOut:
        return LeftOut(due.copy.experiment, reason, detail, due.copy.project)

    if not survey.files:
        return LeftOut(due.copy.experiment, Left.EMPTY, due.copy.source, due.copy.project)
    if room.bytes is not None and survey.missing_bytes > room.bytes:
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
    return Transfer(due.copy, due.why, survey)
