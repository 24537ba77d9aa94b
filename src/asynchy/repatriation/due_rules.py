"""Whether one experiment that is due is transferred, by what was listed of it."""

from __future__ import annotations

from asynchy.copying.outcome_rules import unlisted_words
from asynchy.model.attempt import Claim
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, moment, size
from asynchy.model.plan import DueCopy, DueReason, FreeSpace, PlannedTransfer, Skipped, SkipReason


def planned(item: ExperimentState) -> DueCopy | Skipped | None:
    """What a plan lists; None: there is nothing to do or to say about it by itself."""
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


def when_absent(due: DueCopy) -> Skipped:
    """What becomes of a due copy whose folder is not at the facility when it is listed."""
    if due.why is DueReason.LATE:
        gone = "it is no longer at the facility"
        return Skipped(due.experiment, SkipReason.COMPLETE, gone, due.copy.project)
    return Skipped(due.experiment, SkipReason.ABSENT, due.copy.source, due.copy.project)


def claimed(copy: Copy, claim: Claim) -> Skipped:
    """A copy left out because a process works on it."""
    detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
    return Skipped(copy.experiment, SkipReason.CLAIMED, detail, copy.project)


def after_listing(
    due: DueCopy, listing_diff: ListingDiff, room: FreeSpace
) -> PlannedTransfer | Skipped:
    """Whether a due copy fits; `room` is what is free once everything planned so far is there."""

    def left(reason: SkipReason, detail: str) -> Skipped:
        return Skipped(due.copy.experiment, reason, detail, due.copy.project)

    if not listing_diff.files and listing_diff.unlisted:
        return left(SkipReason.UNLISTED, unlisted_words(listing_diff.unlisted))
    if not listing_diff.files and str(listing_diff.left_out):
        return left(
            SkipReason.ALL_LEFT_OUT, f"{listing_diff.left_out}; see `dot-files` and `symlinks`"
        )
    if not listing_diff.files:
        return Skipped(due.copy.experiment, SkipReason.EMPTY, due.copy.source, due.copy.project)
    if room.bytes is not None and listing_diff.missing_space > room.bytes:
        return left(
            SkipReason.NO_SPACE,
            f"{size(listing_diff.missing_space)} to write, {size(max(room.bytes, 0))} free for it",
        )
    entries = listing_diff.missing_files + listing_diff.missing_folders
    if room.inodes is not None and entries > room.inodes:
        return left(
            SkipReason.NO_INODES,
            f"{count(entries, 'file')} and folders to write, {max(room.inodes, 0):,} free for them",
        )
    return PlannedTransfer(due.copy, due.why, listing_diff)
