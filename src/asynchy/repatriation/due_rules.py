"""Decides whether a due experiment is transferred, by its listing."""

from __future__ import annotations

from asynchy.copying.outcome_rules import unlisted_words
from asynchy.model.attempt import Claim
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, moment, size
from asynchy.model.plan import DueCopy, DueReason, FreeSpace, PlannedTransfer, Skipped, SkipReason


def planned(item: ExperimentState) -> DueCopy | Skipped | None:
    """The planned item for a state; None: there is nothing to do or to report."""
    if item.left is None and item.state is State.DUE and item.wanted is not None:
        assert item.why is not None
        return DueCopy(item.wanted, item.why)
    if item.left is None or item.state is State.SKIPPED:
        return None
    return Skipped(item.experiment, item.left, item.reason, item.project)


class Places:
    """The places that the transfers of a plan fill, each by one experiment."""

    def __init__(self) -> None:
        self._filled: set[str] = set()

    def fill(self, transfer: PlannedTransfer) -> PlannedTransfer | Skipped:
        """The transfer; or why not, if it would be mixed into another experiment's copy."""
        place = str(transfer.copy.destination)
        if place in self._filled:
            detail = (
                f"{place}; put {{beamline}} into destination-path, or into `asynchy sync --layout`"
            )
            return Skipped(
                transfer.copy.experiment, SkipReason.SAME_DESTINATION, detail, transfer.copy.project
            )
        self._filled.add(place)
        return transfer


def when_absent(due_copy: DueCopy) -> Skipped:
    """The decision on a due copy whose folder is not at the facility when it is listed."""
    if due_copy.why is DueReason.LATE:
        is_gone = "it is no longer at the facility"
        return Skipped(due_copy.experiment, SkipReason.COMPLETE, is_gone, due_copy.copy.project)
    return Skipped(
        due_copy.experiment, SkipReason.ABSENT, due_copy.copy.source, due_copy.copy.project
    )


def claimed(copy: Copy, claim: Claim) -> Skipped:
    """A copy left out because a process works on it."""
    detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
    return Skipped(copy.experiment, SkipReason.CLAIMED, detail, copy.project)


def after_listing(
    due_copy: DueCopy, listing_diff: ListingDiff, room: FreeSpace
) -> PlannedTransfer | Skipped:
    """Whether a due copy fits; `room`: the free space left after everything planned so far."""

    def room_left(reason: SkipReason, detail: str) -> Skipped:
        return Skipped(due_copy.copy.experiment, reason, detail, due_copy.copy.project)

    if not listing_diff.files and listing_diff.unlisted:
        return room_left(SkipReason.UNLISTED, unlisted_words(listing_diff.unlisted))
    if not listing_diff.files and str(listing_diff.left_out):
        return room_left(
            SkipReason.ALL_LEFT_OUT, f"{listing_diff.left_out}; see `dot-files` and `symlinks`"
        )
    if not listing_diff.files:
        return Skipped(
            due_copy.copy.experiment, SkipReason.EMPTY, due_copy.copy.source, due_copy.copy.project
        )
    if room.bytes is not None and listing_diff.missing_space > room.bytes:
        return room_left(
            SkipReason.NO_SPACE,
            f"{size(listing_diff.missing_space)} to write, {size(max(room.bytes, 0))} free for it",
        )
    entries = listing_diff.missing_files + listing_diff.missing_folders
    if room.inodes is not None and entries > room.inodes:
        return room_left(
            SkipReason.NO_INODES,
            f"{count(entries, 'file')} and folders to write, {max(room.inodes, 0):,} free for them",
        )
    return PlannedTransfer(due_copy.copy, due_copy.why, listing_diff)
