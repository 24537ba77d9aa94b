"""Which copies are held against the facility again."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.text import moment
from asynchy.plan.backlog import is_plain
from asynchy.plan.decide import claimed
from asynchy.plan.outcome import Due, Left, LeftOut, Why


def to_verify(records: Iterable[ExperimentRecord], epns: Collection[str]) -> list[Due | LeftOut]:
    """The copies that are, or were, complete; those of the EPNs that are named, or all.

    What is not to be had is left out, with the reason.
    """
    decided: list[Due | LeftOut] = []
    for record in records:
        if epns and record.epn.text not in epns:
            continue
        for item in record.copies:
            copy = item.copy
            if record.vanished is not None and not epns:
                gone = f"since {moment(record.vanished)}"
                decided.append(LeftOut(copy.experiment, Left.GONE, gone, copy.project))
            elif item.was_complete:
                decided.append(_decide(item))
            elif epns:
                decided.append(LeftOut(copy.experiment, Left.INCOMPLETE, "", copy.project))
    return decided


def _decide(item: CopyRecord) -> Due | LeftOut:
    copy = item.copy
    if item.presence is not Presence.THERE:
        detail = f"{copy.destination} {item.presence.value}; see `asynchy copies`"
        return LeftOut(copy.experiment, Left.COPY_MISSING, detail, copy.project)
    if not is_plain(copy.source):
        return LeftOut(copy.experiment, Left.ODD_SOURCE, copy.source, copy.project)
    if item.claim is not None:
        return claimed(copy, item.claim)
    return Due(copy, Why.DIFFERENT if item.suspect else Why.VERIFIED)
