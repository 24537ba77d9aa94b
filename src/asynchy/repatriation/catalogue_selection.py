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
    """The options of `asynchy sync`."""

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
    records: Iterable[ExperimentRecord], request: SyncRequest, now: datetime
) -> tuple[list[DueCopy | Skipped], int]:
    """The due experiments at the destination by date, and the number of complete copies.

    Others are left out with the reason. `limit` is applied when they are listed: those that cannot
    be listed do not count.
    """
    records = list(records)
    owners = owners_of(records)
    decided: list[DueCopy | Skipped] = []
    complete = 0
    for record in sorted(
        filter(request.takes, records), key=_by_date, reverse=request.newest_first
    ):
        decision = decide(record, request.copy_of(record), owners, now, named=bool(request.epns))
        if isinstance(decision, DueCopy) and request.is_dated and record.modified is None:
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
    target: Copy,
    owners: Mapping[str, Experiment],
    now: datetime,
    *,
    named: bool,
) -> DueCopy | Skipped | None:
    """Due, or left out with the reason; None: the copy is complete.

    `owners`: destination -> the experiment whose copy is there. `named`: the EPN was asked for.
    """
    copy = record.copy_at(target.destination)
    reason = _due_reason(record, copy, now)
    absent = copy is not None and copy.was_complete and copy.presence is not Presence.THERE
    closed = record.vanished is None and not is_usable(record.problem)
    if reason is None and not absent and not closed:
        return None
    skipped = _skipped(record, target, copy, owners)
    if skipped is None and not named:
        skipped = _skipped_unless_named(record, copy, now)
    if skipped is not None:
        return skipped
    assert reason is not None  # absent copies, and those without a folder, are left out
    return DueCopy(target, reason, expected=record.amount if reason is DueReason.NEW else None)


def _due_reason(
    record: ExperimentRecord, copy: CopyRecord | None, now: datetime
) -> DueReason | None:
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


def _skipped(
    record: ExperimentRecord,
    target: Copy,
    copy: CopyRecord | None,
    owners: Mapping[str, Experiment],
) -> Skipped | None:
    """Why an experiment cannot be fetched to its place."""
    owner = owners.get(str(target.destination), record.experiment)
    if owner != record.experiment:
        name = f"{owner.beamline} {owner.epn}" if owner.beamline else f"{owner.epn}"
        detail = f"{target.destination} holds {name}; use --layout {{beamline}}/{{epn}}"
        return Skipped(record.experiment, SkipReason.SAME_DESTINATION, detail)
    if copy is not None and copy.was_complete and copy.presence is not Presence.THERE:
        detail = f"{target.destination} {copy.presence.value}; see `asynchy copies`"
        return Skipped(record.experiment, SkipReason.COPY_MISSING, detail)
    if not is_usable(record.problem):
        return Skipped(record.experiment, SkipReason.NOT_A_FOLDER, str(record.problem))
    if not is_plain(target.source):
        return Skipped(record.experiment, SkipReason.ODD_SOURCE, target.source)
    if copy is not None and copy.claim is not None:
        return claimed(target, copy.claim)
    return None


def _skipped_unless_named(
    record: ExperimentRecord, copy: CopyRecord | None, now: datetime
) -> Skipped | None:
    """Why an experiment is fetched only if it is named."""
    if record.is_released(now):
        return Skipped(record.experiment, SkipReason.RELEASED, record.release_reason or "")
    if record.vanished is not None:
        since = f"since {moment(record.vanished)}"
        was_complete = record.completed_elsewhere or any(
            copy_record.was_complete for copy_record in record.copies
        )
        if was_complete:
            return Skipped(record.experiment, SkipReason.GONE, since)
        detail = f"{since}; `asynchy copies forget {record.epn}` once nothing can be done"
        return Skipped(record.experiment, SkipReason.LOST, detail)
    # A copy that was compared here counts by the result, not by the original program's record.
    is_recorded = copy is not None and (copy.was_complete or copy.files is not None)
    if record.completed_elsewhere and not is_recorded and not _outdated(record):
        return Skipped(record.experiment, SkipReason.ELSEWHERE, "--epn fetches it all the same")
    return None


def _outdated(record: ExperimentRecord) -> bool:
    """Whether the facility has something newer than the original program can have fetched."""
    return record.elsewhere_since is not None and record.touched_since(record.elsewhere_since)
