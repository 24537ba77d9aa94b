"""Which experiments of the catalogue are fetched to one destination, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from asynchy.domain.copy_record import CopyRecord, CopyState, Presence
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.text import moment
from asynchy.plan.decide import claimed
from asynchy.plan.outcome import Due, Left, LeftOut, Why
from asynchy.plan.policy import owners_of

_PLAIN = re.compile(r"(/[A-Za-z0-9_.@+,=-]+)+", re.ASCII)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Wish:
    """What `asynchy sync` was asked for."""

    destination: Path
    layout: str = "{epn}"
    """Where the copy of an experiment goes below it: `{epn}` and `{beamline}` are replaced."""
    source_prefix: str | None = None
    """Goes before the EPN instead of the path that was walked."""
    newest_first: bool = False
    limit: int | None = None
    epns: frozenset[str] = frozenset()
    """These alone; none: all."""
    since: datetime | None = None
    until: datetime | None = None

    def copy_of(self, record: ExperimentRecord) -> Copy:
        """The copy that is wanted of an experiment."""
        epn, beamline = record.epn.text, record.experiment.beamline
        source = record.source
        if self.source_prefix is not None or not source:
            folder = source.rpartition("/")[2]  # spelled as it is at the facility
            folder = folder if Epn.parse(folder) == record.epn else epn
            source = f"{(self.source_prefix or '').rstrip('/')}/{folder}"
        below = self.layout.format(epn=epn, beamline=beamline or "unknown")
        return Copy(
            experiment=record.experiment,
            project="",
            source=source,
            project_folder=self.destination,
            destination=self.destination / below,
        )

    def takes(self, record: ExperimentRecord) -> bool:
        """Whether an experiment is asked for at all."""
        if self.epns and record.epn.text not in self.epns:
            return False
        if self.since is None and self.until is None:
            return True
        if record.modified is None:
            return False
        return (self.since or _NEVER) <= record.modified and (
            self.until is None or record.modified < self.until
        )


def is_plain(source: str) -> bool:
    """Whether a path at the facility holds only what no shell interprets."""
    return _PLAIN.fullmatch(source) is not None


def backlog(
    records: Iterable[ExperimentRecord], wish: Wish, now: datetime
) -> tuple[list[Due | LeftOut], int]:
    """What is due at the destination in order of date, and how many copies are complete there.

    What is not due for another reason is left out with it. `limit` is for whoever lists what is
    due: what cannot be listed does not count.
    """
    records = list(records)
    owners = owners_of(records)
    decided: list[Due | LeftOut] = []
    complete = 0
    for record in sorted(filter(wish.takes, records), key=_by_date, reverse=wish.newest_first):
        decision = _decide(record, wish.copy_of(record), owners, now, named=bool(wish.epns))
        if decision is None:
            complete += 1
        else:
            decided.append(decision)
    return decided, complete


def _by_date(record: ExperimentRecord) -> tuple[datetime, Experiment]:
    return record.modified or _NEVER, record.experiment


def _decide(
    record: ExperimentRecord,
    wanted: Copy,
    owners: Mapping[str, Experiment],
    now: datetime,
    *,
    named: bool,
) -> Due | LeftOut | None:
    """Due, or left out with the reason; None: the copy is complete."""
    copy = record.copy_at(wanted.destination)
    why = _why(record, copy, now)
    absent = copy is not None and copy.was_complete and copy.presence is not Presence.THERE
    if why is None and not absent:
        return None
    left = _left(record, wanted, copy, owners)
    if left is None and not named:
        left = _not_to_be_had(record, wanted, copy)
    if left is not None:
        return left
    assert why is not None  # a copy that is absent is left out
    return Due(wanted, why, expected=record.amount if why is Why.NEW else None)


def _why(record: ExperimentRecord, copy: CopyRecord | None, now: datetime) -> Why | None:
    state = record.state_of(copy, now)
    if state is CopyState.IN_PROGRESS and copy is not None:
        state = record.state_of(replace(copy, claim=None), now)
    if state is CopyState.STALE and copy is not None and copy.listed is not None:
        if record.changed is not None and record.changed > copy.listed:
            return Why.CHANGED
        returned = any(copy.listed < item.visit.end <= now for item in record.beamtimes)
        return Why.RETURNED if returned else None  # a visit that runs has nothing to show yet
    return {
        CopyState.COMPLETE: None,
        CopyState.SUSPECT: Why.DIFFERENT,
        CopyState.INCOMPLETE: Why.AGAIN,
    }.get(state, Why.NEW)


def _left(
    record: ExperimentRecord,
    wanted: Copy,
    copy: CopyRecord | None,
    owners: Mapping[str, Experiment],
) -> LeftOut | None:
    """Why an experiment cannot be fetched to its place."""
    owner = owners.get(str(wanted.destination), record.experiment)
    if owner != record.experiment:
        where = f"{owner.beamline} " if owner.beamline else ""
        detail = f"{wanted.destination} holds {where}{owner.epn}; use --layout {{beamline}}/{{epn}}"
        return LeftOut(record.experiment, Left.SAME_DESTINATION, detail)
    if copy is not None and copy.was_complete and copy.presence is not Presence.THERE:
        detail = f"{wanted.destination} {copy.presence.value}; see `asynchy copies`"
        return LeftOut(record.experiment, Left.COPY_MISSING, detail)
    if record.problem is not None:
        return LeftOut(record.experiment, Left.BROKEN_LINK, record.problem)
    if not is_plain(wanted.source):
        return LeftOut(record.experiment, Left.ODD_SOURCE, wanted.source)
    if copy is not None and copy.claim is not None:
        return claimed(wanted, copy.claim)
    return None


def _not_to_be_had(
    record: ExperimentRecord, wanted: Copy, copy: CopyRecord | None
) -> LeftOut | None:
    """Why an experiment is fetched only if it is named."""
    if record.released is not None and not record.touched_since(record.released):
        return LeftOut(record.experiment, Left.RELEASED, record.release_reason or "")
    if record.vanished is not None:
        return LeftOut(record.experiment, Left.GONE, f"since {moment(record.vanished)}")
    ours = copy is not None and copy.was_complete
    if record.completed_elsewhere and not ours and not _outdated(record):
        return LeftOut(record.experiment, Left.ELSEWHERE, "--epn fetches it all the same")
    return None


def _outdated(record: ExperimentRecord) -> bool:
    """Whether the facility has something newer than the original program can have fetched."""
    return record.elsewhere_since is not None and record.touched_since(record.elsewhere_since)
