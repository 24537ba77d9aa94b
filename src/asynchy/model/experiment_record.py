"""An experiment with all that is known of it, at the facility and at home."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from asynchy.model.clock import is_future
from asynchy.model.copy_record import CopyRecord, CopyState, copy_state
from asynchy.model.epn import Epn
from asynchy.model.experiment import DataSize, Experiment
from asynchy.model.person import Person
from asynchy.model.visit import Beamtime

CALLED_OFF = "a visit of it was told, and called off since"
"""The reason in the note of an experiment of which all visits were called off."""
UNREADABLE = "a visit of it was told that could not be read"
"""The reason in the note of an experiment of which a visit was told that is not known."""
UNCOMPARED = "in place at home, and gone from the facility before it was compared"
"""How the note of an experiment begins that a lost catalogue knew, and nobody can compare."""


@dataclass(frozen=True)
class DueNote:
    """A note of a cycle about an experiment that stays due."""

    project: str
    since: datetime
    """When it was first left undone."""
    latest: datetime
    """When it was last tried, or looked at."""
    reason: str


@dataclass(frozen=True)
class ExperimentRecord:
    """One experiment, with its copies and visits."""

    experiment: Experiment
    source: str = ""
    """Its path at the facility; empty: not known."""
    seen: bool = False
    """Whether it was looked for at the facility; otherwise only the portal has reported it."""
    visible: bool = False
    """Whether a folder of it was seen at the facility, and not found to be gone since."""
    link_target: str | None = None
    """The target, if its folder at the facility is a symbolic link; None: it is not."""
    problem: str | None = None
    """Why its folder at the facility cannot be used; None: it can, as far as is known."""
    listed: datetime | None = None
    """When all of it was last listed there; None: never."""
    files: int | None = None
    """As it was last listed there; None: its files were never looked at."""
    bytes: int | None = None
    modified: datetime | None = None
    """The time of its latest file."""
    changed: datetime | None = None
    """When something new was last found in it."""
    vanished: datetime | None = None
    """When it was no longer found at the facility; None: it is there, as far as is known."""
    completed_elsewhere: bool = False
    """Whether the original program recorded it as complete, without the place."""
    elsewhere_since: datetime | None = None
    """Up to when that can hold; None: there is no such record."""
    released: datetime | None = None
    """When a person released it: it need not come home; None: it must."""
    release_reason: str | None = None
    copies: tuple[CopyRecord, ...] = ()
    """Those that must be at their places, in order of destination."""
    beamtimes: tuple[Beamtime, ...] = ()
    """Its visits that are known, in order of their end."""
    note: DueNote | None = None
    called_off: bool = False
    """Whether the portal has reported visits of it, and called all of them off since."""
    mailed: bool = False
    """Whether a mail has named its EPN as one of unknown ownership."""

    @property
    def epn(self) -> Epn:
        """The EPN of the experiment."""
        return self.experiment.epn

    @property
    def uncompared(self) -> str | None:
        """Its place at home, if it was gone before a rebuild or `adopt` could compare it.

        None: nothing of that was noted, or something is newer.
        """
        note = self.note
        if note is None or not note.reason.startswith(UNCOMPARED):
            return None
        place = note.reason.removeprefix(UNCOMPARED).removeprefix(": ")
        return None if self.touched_since(note.since) else place

    @property
    def amount(self) -> DataSize | None:
        """Its files, if a walk, a listing or an import has seen them."""
        return None if self.files is None else DataSize(self.bytes or 0, self.files)

    @property
    def principal(self) -> Person | None:
        """The principal scientist of its latest visit; None: not known."""
        principals = [item.visit.principal for item in self.beamtimes if item.visit.principal]
        return principals[-1] if principals else None

    def with_beamtimes(self, beamtimes: Iterable[Beamtime]) -> ExperimentRecord:
        """The record with these visits; made for ten thousands of records at a time."""
        unique = object.__new__(ExperimentRecord)
        ordered = tuple(beamtimes)
        if len(ordered) > 1:
            ordered = tuple(sorted(ordered, key=lambda item: item.visit.end))
        vars(unique).update(vars(self), beamtimes=ordered)
        return unique

    def copy_at(self, destination: Path) -> CopyRecord | None:
        """The copy at a place; None: the catalogue knows none there."""
        for item in self.copies:
            copies = item.copy.destination
            if copies is destination or copies == destination:  # to compare paths takes longer
                return item
        return None

    def state_of(self, copy: CopyRecord | None, now: datetime) -> CopyState:
        """The state of one of its copies."""
        state = copy_state(copy, self.beamtimes, self.changed, now)
        if state is CopyState.INCOMPLETE and self.vanished and copy and copy.completed:
            return CopyState.COMPLETE  # no attempt will ever end better
        return state

    def last_end(self, before: datetime) -> datetime | None:
        """When the latest of its visits ended that had ended before a time; None: none had."""
        for item in reversed(self.beamtimes):
            if item.visit.end < before:
                return item.visit.end
        return None

    def unasked(self, now: datetime) -> list[Beamtime]:
        """Its visits that run now, on equipment that the portal is no longer asked about.

        If one ended earlier, or was called off, asynchy would not know.
        """
        return [
            item
            for item in self.beamtimes
            if not item.asked and item.visit.start <= now <= item.visit.end
        ]

    def is_released(self, now: datetime) -> bool:
        """Whether a person released it, and nothing is newer than that."""
        released = self.released
        if released is None or is_future(released, now):
            return False
        return not self.touched_since(released)

    def touched_since(self, moment: datetime) -> bool:
        """Whether a visit ended, or the files at the facility changed, after a time.

        A file time later than the listing is ignored: some clock was wrong.
        """
        modified = self.modified
        if modified is not None and self.listed is not None and modified > self.listed:
            modified = None
        times = [modified, self.changed, *(item.visit.end for item in self.beamtimes)]
        return any(time is not None and time > moment for time in times)


def by_epn(record: ExperimentRecord) -> tuple[str, str]:
    """The order of records: by EPN, then by beamline."""
    return record.experiment.epn.text, record.experiment.beamline


def by_beamline(record: ExperimentRecord) -> tuple[str, str]:
    """By beamline, then by EPN."""
    return record.experiment.beamline, record.experiment.epn.text


def combine(
    known: Iterable[ExperimentRecord], beamtimes: Iterable[Beamtime]
) -> list[ExperimentRecord]:
    """Experiments with their visits, also those known only by a visit, in order of EPN.

    One that was seen below no beamline's folder has the visits of its EPN on any beamline. One that
    is known under two names, but has one path at the facility, is one. A visit that the portal
    reported on another beamline before stays with that experiment of its EPN until one is seen on
    the new one: it is the same visit, and its data are there.
    """
    records = _as_one(known)

    def is_located(key: _Key) -> bool:
        return key in records and bool(records[key].source)

    visits: defaultdict[_Key, list[Beamtime]] = defaultdict(list)
    for item in beamtimes:
        epn = item.visit.epn.text
        key = epn, item.beamline
        if item.earlier and not is_located(key) and is_located((epn, item.earlier)):
            key = epn, item.earlier
        without_beamline = epn, ""
        visits[
            without_beamline if key not in records and without_beamline in records else key
        ].append(item)
    for key, of_key in visits.items():
        if key not in records:
            records[key] = ExperimentRecord(Experiment(of_key[0].beamline, of_key[0].visit.epn))
        records[key] = records[key].with_beamtimes(of_key)
    return [records[key] for key in sorted(records)]


_Key = tuple[str, str]
"""EPN and beamline: quicker to look up than an `Experiment`."""


def _as_one(known: Iterable[ExperimentRecord]) -> dict[_Key, ExperimentRecord]:
    records: dict[_Key, ExperimentRecord] = {}
    by_place: dict[tuple[str, str], _Key] = {}
    for record in sorted(known, key=by_beamline, reverse=True):  # "" comes last
        beamline, epn = record.experiment.beamline, record.experiment.epn.text
        key = epn, beamline
        first_key = by_place.setdefault((epn, record.source or beamline), key)
        records[first_key] = _merged(records[first_key], record) if first_key in records else record
    return records


def _merged(record: ExperimentRecord, other: ExperimentRecord) -> ExperimentRecord:
    newer, older = (record, other) if _is_later(record.listed, other.listed) else (other, record)
    files = newer if newer.files is not None else older
    return replace(
        newer,
        experiment=record.experiment,
        files=files.files,
        bytes=files.bytes,
        modified=files.modified,
        changed=record.changed if _is_later(record.changed, other.changed) else other.changed,
        completed_elsewhere=record.completed_elsewhere or other.completed_elsewhere,
        elsewhere_since=record.elsewhere_since or other.elsewhere_since,
        copies=record.copies + other.copies,
    )


def _is_later(time: datetime | None, other_time: datetime | None) -> bool:
    return time is not None and (other_time is None or time >= other_time)
