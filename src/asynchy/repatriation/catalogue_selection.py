"""Which experiments of the catalogue are fetched to one destination, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from asynchy.model.clock import is_future
from asynchy.model.copy_record import CopyRecord, CopyState, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import moment
from asynchy.model.observed import is_usable
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.model.policy import owners_of
from asynchy.repatriation.due_rules import claimed

_PLAIN = re.compile(r"(/[A-Za-z0-9_.@+,=-]+)+", re.ASCII)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SyncRequest:
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

    @property
    def is_dated(self) -> bool:
        """Whether experiments are asked for by the time of their files."""
        return self.since is not None or self.until is not None

    def takes(self, record: ExperimentRecord) -> bool:
        """Whether an experiment is asked for at all."""
        if self.epns and record.epn.text not in self.epns:
            return False
        if not self.is_dated:
            return True
        if record.modified is None:  # it may be of that time
            return True
        return (self.since or _NEVER) <= record.modified and (
            self.until is None or record.modified < self.until
        )


def is_plain(source: str) -> bool:
    """Whether a path at the facility holds only what no shell interprets."""
    return _PLAIN.fullmatch(source) is not None


def select_from_catalogue(
    records: Iterable[ExperimentRecord], wish: SyncRequest, now: datetime
) -> tuple[list[DueCopy | Skipped], int]:
    """What is due at the destination in order of date, and how many copies are complete there.

    What is not due for another reason is left out with it. `limit` is for whoever lists what is
    due: what cannot be listed does not count.
    """
    records = list(records)
    owners = owners_of(records)
    decided: list[DueCopy | Skipped] = []
    complete = 0
    for record in sorted(filter(wish.takes, records), key=_by_date, reverse=wish.newest_first):
        decision = decide(record, wish.copy_of(record), owners, now, named=bool(wish.epns))
        if isinstance(decision, DueCopy) and wish.is_dated and record.modified is None:
            detail = "`asynchy walk` finds the time of its files"
            decision = Skipped(record.experiment, SkipReason.UNDATED, detail)
        if decision is None:
            complete += 1
        else:
            decided.append(decision)
    return decided, complete


def _by_date(record: ExperimentRecord) -> tuple[datetime, Experiment]:
    return record.modified or _NEVER, record.experiment


def decide(
    record: ExperimentRecord,
    wanted: Copy,
    owners: Mapping[str, Experiment],
    now: datetime,
    *,
    named: bool,
) -> DueCopy | Skipped | None:
    """Due, or left out with the reason; None: the copy is complete.

    `owners`: destination -> the experiment whose copy is there. `named`: the EPN was asked for.
    """
    copy = record.copy_at(wanted.destination)
    why = _why(record, copy, now)
    absent = copy is not None and copy.was_complete and copy.presence is not Presence.THERE
    closed = record.vanished is None and not is_usable(record.problem)
    if why is None and not absent and not closed:
        return None
    left = _left(record, wanted, copy, owners)
    if left is None and not named:
        left = _not_to_be_had(record, copy, now)
    if left is not None:
        return left
    assert why is not None  # a copy that is absent is left out, and what is no folder
    return DueCopy(wanted, why, expected=record.amount if why is DueReason.NEW else None)


def _why(record: ExperimentRecord, copy: CopyRecord | None, now: datetime) -> DueReason | None:
    state = record.state_of(copy, now)
    if state is CopyState.IN_PROGRESS and copy is not None:
        state = record.state_of(replace(copy, claim=None), now)
    if state is CopyState.STALE and copy is not None and copy.listed is not None:
        if record.changed is not None and record.changed > copy.listed:
            return DueReason.CHANGED
        if is_future(copy.listed, now):
            return DueReason.CLOCK
        returned = any(copy.listed < item.visit.end <= now for item in record.beamtimes)
        return DueReason.RETURNED if returned else None  # a visit that runs has nothing to show yet
    return {
        CopyState.COMPLETE: None,
        CopyState.SUSPECT: DueReason.DIFFERENT,
        CopyState.INCOMPLETE: DueReason.AGAIN,
    }.get(state, DueReason.NEW)


def _left(
    record: ExperimentRecord,
    wanted: Copy,
    copy: CopyRecord | None,
    owners: Mapping[str, Experiment],
) -> Skipped | None:
    """Why an experiment cannot be fetched to its place."""
    owner = owners.get(str(wanted.destination), record.experiment)
    if owner != record.experiment:
        where = f"{owner.beamline} " if owner.beamline else ""
        detail = f"{wanted.destination} holds {where}{owner.epn}; use --layout {{beamline}}/{{epn}}"
        return Skipped(record.experiment, SkipReason.SAME_DESTINATION, detail)
    if copy is not None and copy.was_complete and copy.presence is not Presence.THERE:
        detail = f"{wanted.destination} {copy.presence.value}; see `asynchy copies`"
        return Skipped(record.experiment, SkipReason.COPY_MISSING, detail)
    if not is_usable(record.problem):
        return Skipped(record.experiment, SkipReason.NOT_A_FOLDER, str(record.problem))
    if not is_plain(wanted.source):
        return Skipped(record.experiment, SkipReason.ODD_SOURCE, wanted.source)
    if copy is not None and copy.claim is not None:
        return claimed(wanted, copy.claim)
    return None


def _not_to_be_had(
    record: ExperimentRecord, copy: CopyRecord | None, now: datetime
) -> Skipped | None:
    """Why an experiment is fetched only if it is named."""
    if record.is_released(now):
        return Skipped(record.experiment, SkipReason.RELEASED, record.release_reason or "")
    if record.vanished is not None:
        since = f"since {moment(record.vanished)}"
        whole = record.completed_elsewhere or any(one.was_complete for one in record.copies)
        if whole:
            return Skipped(record.experiment, SkipReason.GONE, since)
        detail = f"{since}; `asynchy copies forget {record.epn}` once nothing can be done"
        return Skipped(record.experiment, SkipReason.LOST, detail)
    # What was compared here counts by that, whatever the original program said of it.
    ours = copy is not None and (copy.was_complete or copy.files is not None)
    if record.completed_elsewhere and not ours and not _outdated(record):
        return Skipped(record.experiment, SkipReason.ELSEWHERE, "--epn fetches it all the same")
    return None


def _outdated(record: ExperimentRecord) -> bool:
    """Whether the facility has something newer than the original program can have fetched."""
    return record.elsewhere_since is not None and record.touched_since(record.elsewhere_since)
