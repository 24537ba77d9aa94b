"""Whether an experiment was ever asked for, and why a copy of it is due."""

from __future__ import annotations

from datetime import datetime

from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment_record import CALLED_OFF, UNREADABLE, ExperimentRecord
from asynchy.model.plan import DueReason, SkipReason
from asynchy.model.policy import Origin, Policy


def why_due(record: ExperimentRecord, policy: Policy, copy: CopyRecord | None) -> DueReason | None:
    """Why the copy is due; None: it is not."""
    if copy is not None and copy.suspect:
        return DueReason.DIFFERENT
    if copy is not None and copy.completed is not None and copy.listed is not None:
        return _why_again(record, policy, copy, copy.listed)
    if copy is not None and copy.attempts:
        return DueReason.AGAIN
    reasons = (why_stale(record, policy, item) for item in record.copies)
    return next(
        (why for why in reasons if why in (DueReason.RETURNED, DueReason.CHANGED)), DueReason.NEW
    )


def why_stale(record: ExperimentRecord, policy: Policy, copy: CopyRecord) -> DueReason | None:
    """Why a copy at another place does not count any more; None: it does."""
    if copy.completed is None or copy.listed is None or copy.suspect:
        return DueReason.AGAIN
    return _why_again(record, policy, copy, copy.listed)


def _why_again(
    record: ExperimentRecord, policy: Policy, copy: CopyRecord, listed: datetime
) -> DueReason | None:
    """Why a complete copy is due again; None: it is not."""
    entry = policy.ignored.get(record.epn.text)
    removed = entry is not None and entry.origin is Origin.REMOVED and listed < entry.since
    if removed and record.vanished is None:
        return DueReason.REMOVED
    last_end = record.last_end(policy.running.reference)
    if last_end is not None and last_end > listed:
        return DueReason.RETURNED
    return None if record.vanished is not None else _why_compared(record, policy, copy, listed)


def _why_compared(
    record: ExperimentRecord, policy: Policy, copy: CopyRecord, listed: datetime
) -> DueReason | None:
    """Why a complete copy is compared again without a visit, while the facility has the data."""
    if policy.is_future(listed):
        return DueReason.CLOCK
    if record.changed is not None and record.changed > listed:
        return DueReason.CHANGED
    if copy.unfinished:
        return DueReason.AGAIN
    return DueReason.LATE if _is_late(record, policy, copy) else None


def _is_late(record: ExperimentRecord, policy: Policy, copy: CopyRecord) -> bool:
    """Whether it must be compared once more, because of files written late.

    Without a reported visit, the time of the latest file counts as the visit's end.
    """
    recheck = policy.recheck
    end = record.last_end(policy.now) if record.beamtimes else record.modified
    if recheck is None or end is None or copy.listed is None:
        return False
    return end < policy.running.reference and recheck.is_due(end, copy.listed)


def is_obligation(record: ExperimentRecord, policy: Policy, copy: CopyRecord | None) -> bool:
    """Whether it was ever to be fetched: reported, mailed, tried, due, or visible if all are.

    Visits called off later do not undo it, if it was ever seen; nor does another destination, if it
    was complete at the one before. `copy`: the one at the present destination.
    """
    if _was_only_told(record):
        return False
    tried = copy is not None and copy.attempts > 0
    tried = tried or any(other_copy.was_complete for other_copy in record.copies)
    was_reported = bool(record.beamtimes) or record.called_off
    is_known = was_reported or record.mailed or record.note is not None
    return is_known or tried or (record.visible and policy.fetch_visible)


def _was_only_told(record: ExperimentRecord) -> bool:
    """Whether the portal reports it no more, and nobody has ever seen data of it.

    Its visits were called off, or are on another beamline now.
    """
    if record.source or record.beamtimes or record.called_off:
        return False
    if any(copy.was_complete or copy.transfers for copy in record.copies):
        return False
    note = record.note
    waited = SkipReason.ABSENT, SkipReason.SAME_DESTINATION
    if note is None or note.reason in (CALLED_OFF, UNREADABLE):
        return True
    return SkipReason.said_in(note.reason) in waited
