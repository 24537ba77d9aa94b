"""How much is at home and at the facility: by project, beamline, year or person. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from asynchy.model.copy_record import Presence
from asynchy.model.experiment_state import ExperimentState, State

UNKNOWN = "not known"
LEFT = frozenset({State.DUE, State.WAITING})
"""Experiments that are going to be fetched."""


class UsageKey(Enum):
    """What experiments are grouped by."""

    PROJECT = "project"
    BEAMLINE = "beamline"
    YEAR = "year"
    PERSON = "person"


@dataclass
class Usage:
    """The experiments of one project, beamline, year or person: `complete`, `left` or `other`."""

    name: str
    experiments: int = 0
    complete: int = 0
    """Those with a complete copy whose folder is at home, and of which nothing is left."""
    files: int = 0
    """In complete copies at home, those included of which there is more to fetch."""
    bytes: int = 0
    left: int = 0
    """Experiments that are due, or wait for the end of a visit."""
    left_bytes: int = 0
    """Of those of which it is known."""
    unknown: int = 0
    """Those of `left` of which it is not."""
    others: Counter[State] = field(default_factory=Counter)
    """Experiments that are neither: not at home, and nothing of them is going to be fetched."""

    @property
    def other(self) -> int:
        """How many these are."""
        return self.others.total()


@dataclass(frozen=True)
class UsageReport:
    """All of them, and their sum."""

    key: UsageKey
    rows: tuple[Usage, ...]
    """The largest at home first."""
    total: Usage = field(default_factory=lambda: Usage("in all"))


def usage(states: Iterable[ExperimentState], key: UsageKey) -> UsageReport:
    """What experiments take, grouped."""
    rows: dict[str, Usage] = {}
    total = Usage("in all")
    for item in states:
        name = _name(item, key)
        for row in (rows.setdefault(name, Usage(name)), total):
            _add(row, item)
    ordered = sorted(rows.values(), key=lambda row: (-row.bytes, -row.left_bytes, row.name))
    return UsageReport(key, tuple(ordered), total)


def _add(row: Usage, item: ExperimentState) -> None:
    row.experiments += 1
    held = [
        copy
        for copy in item.record.copies
        if copy.completed is not None and copy.presence is Presence.THERE
    ]
    row.files += sum(copy.files or 0 for copy in held)
    row.bytes += sum(copy.bytes or 0 for copy in held)
    if item.state in LEFT:
        row.left += 1
        row.left_bytes += item.record.bytes or 0
        row.unknown += item.record.bytes is None
    elif held:
        row.complete += 1
    else:
        row.others[item.state] += 1


def _name(item: ExperimentState, key: UsageKey) -> str:
    record = item.record
    match key:
        case UsageKey.PROJECT:
            copied = [copy.copy.project for copy in record.copies if copy.copy.project]
            return item.project or next(iter(copied), "no project")
        case UsageKey.BEAMLINE:
            return record.experiment.beamline or UNKNOWN
        case UsageKey.PERSON:
            return record.principal.name if record.principal else UNKNOWN
    when = record.beamtimes[-1].visit.end if record.beamtimes else record.modified
    return str(when.astimezone().year) if when else UNKNOWN
