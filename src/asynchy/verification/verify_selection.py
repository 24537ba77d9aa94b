"""Which copies are compared with the facility again."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import moment
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.repatriation.catalogue_selection import is_plain
from asynchy.repatriation.due_rules import claimed


def to_verify(
    records: Iterable[ExperimentRecord], epns: Collection[str]
) -> list[DueCopy | Skipped]:
    """The copies that are, or were, complete: of the named EPNs, or all.

    Experiments that are no longer at the facility are left out, with the reason.
    """
    decided: list[DueCopy | Skipped] = []
    for record in records:
        if epns and record.epn.text not in epns:
            continue
        for item in record.copies:
            copy = item.copy
            if record.vanished is not None and not epns:
                gone = f"since {moment(record.vanished)}"
                decided.append(Skipped(copy.experiment, SkipReason.GONE, gone, copy.project))
            elif item.was_complete:
                decided.append(_decide(item))
            elif epns:
                decided.append(Skipped(copy.experiment, SkipReason.INCOMPLETE, "", copy.project))
    return decided


def _decide(item: CopyRecord) -> DueCopy | Skipped:
    copy = item.copy
    if item.presence is not Presence.THERE:
        detail = f"{copy.destination} {item.presence.value}; see `asynchy copies`"
        return Skipped(copy.experiment, SkipReason.COPY_MISSING, detail, copy.project)
    if not is_plain(copy.source):
        return Skipped(copy.experiment, SkipReason.ODD_SOURCE, copy.source, copy.project)
    if item.claim is not None:
        return claimed(copy, item.claim)
    return DueCopy(copy, DueReason.DIFFERENT if item.suspect else DueReason.VERIFIED)
