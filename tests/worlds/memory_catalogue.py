"""Two stores for a world: one in memory, and asynchy's own catalogue; both with one interface.

The one in memory makes a world of a hundred days last milliseconds. It decides nothing: what is
decided is called from `plan` and `catalogue.visits`. One test drives both with the same operations
and compares the records that they give.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from asynchy.catalogue import visits as visit_rows
from asynchy.errors import DestinationTaken
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.clock import is_future
from asynchy.model.copy_record import CopyRecord, LastAttempt
from asynchy.model.epn import Epn
from asynchy.model.experiment import NOTHING_LEFT_OUT, Copy, DataSize, Experiment, ListingDiff
from asynchy.model.experiment_record import CALLED_OFF, DueNote, ExperimentRecord, combine
from asynchy.model.ignore_rules import entries_now
from asynchy.model.observed import FolderSeen, is_back, is_usable
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.shrinking import NO_LOSSES, Losses, shrinking
from asynchy.model.verification import Level
from asynchy.model.visit import EquipmentVisits
from asynchy.model.visit_span import Span, span_after

_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
Files = Mapping[str, tuple[int, int]]
"""By path, size in bytes and time in seconds since 1970."""


class Store(Protocol):
    """What a world stores; the operations of the catalogue that a cycle and a mail use."""

    def answered_until(self) -> dict[int, datetime]: ...
    def begun_visits(self, equipment: int, since: datetime, until: datetime) -> int: ...
    def keep_visits(self, answers: Sequence[EquipmentVisits], now: datetime) -> None: ...
    def see(self, seen: FolderSeen, now: datetime) -> None: ...
    def records(self) -> list[ExperimentRecord]: ...
    def entries(
        self, said: Mapping[str, Origin | None], now: datetime, *, store: bool
    ) -> dict[str, IgnoreEntry]: ...
    def add_entries(self, entries: Mapping[str, IgnoreEntry]) -> None: ...
    def note(
        self,
        undone: Mapping[Experiment, tuple[str, str]],
        done: Collection[Experiment],
        now: datetime,
    ) -> None: ...
    def mailed(self, epns: Collection[Epn], now: datetime) -> None: ...
    def acquire_lease(self, wanted: Copy, now: datetime) -> int: ...
    def release_claim(self, copy_id: int) -> None: ...
    def list_files(self, wanted: Copy, files: Files, at_home: Files, now: datetime) -> int: ...
    def hold(self, copy_id: int, found: ListingDiff, level: Level) -> None: ...
    def record(self, copy_id: int, attempt: Attempt, listing_diff: ListingDiff | None) -> None: ...
    def record_unlisted(self, wanted: Copy, attempt: Attempt) -> None: ...
    def release_experiment(self, experiment: Experiment, now: datetime) -> None: ...
    def refetch_copy(self, record: CopyRecord) -> None: ...
    def correct_times(self, now: datetime) -> None: ...
    def note_losses(self, wanted: Copy, listing_diff: ListingDiff) -> None: ...
    def back_up(self) -> object: ...
    def restore(self, backup: object) -> None: ...


@dataclass
class _Row:
    """An experiment."""

    experiment: Experiment
    source: str
    vanished: datetime | None = None
    problem: str | None = None
    link_target: str | None = None
    listed: datetime | None = None
    files: int | None = None
    bytes: int | None = None
    modified: datetime | None = None
    changed: datetime | None = None
    released: datetime | None = None
    contents: Files = field(default_factory=dict)


@dataclass
class _Copy:
    """A copy, with the files that it holds: by path size, time, level and whether it is missing."""

    record: CopyRecord
    held: dict[str, tuple[int, int, Level | None, bool]] = field(default_factory=dict)
    begun: list[datetime] = field(default_factory=list)
    """When the attempts began that made it complete."""


class MemoryStore:
    """The stand-in for the catalogue."""

    def __init__(self) -> None:
        self._rows: dict[Experiment, _Row] = {}
        self._copies: dict[int, _Copy] = {}
        self._visits: visit_rows.Known = {}
        self._off: visit_rows.CalledOff = {}
        self._spans: dict[int, Span] = {}
        self._entries: dict[str, IgnoreEntry] = {}
        self._read = False
        self._notes: dict[Experiment, DueNote] = {}
        self._mailed: set[Epn] = set()
        self._next = 1
        self._made: dict[Experiment, ExperimentRecord] = {}

    # The portal, and what is visible.

    def answered_until(self) -> dict[int, datetime]:
        return {equipment: span.until for equipment, span in self._spans.items()}

    def begun_visits(self, equipment: int, since: datetime, until: datetime) -> int:
        mine = (item for (number, _), item in self._visits.items() if number == equipment)
        return sum(since <= item.visit.start <= until for item in mine)

    def keep_visits(self, answers: Sequence[EquipmentVisits], now: datetime) -> None:
        before, self._visits = self._visits, visit_rows.merged(self._visits, answers)
        for one in visit_rows.no_longer_told(before, self._visits):
            self._off[one.visit.id, one.visit.epn.text] = one.beamline
        for experiment in visit_rows.called_off(before, self._visits):
            self._notes.setdefault(experiment, DueNote("", now, now, CALLED_OFF))
            self._made.pop(experiment, None)
        for item in self._visits.values():
            experiment = Experiment(item.beamline, item.visit.epn)
            if experiment in self._notes and self._notes[experiment].reason == CALLED_OFF:
                del self._notes[experiment]
                self._made.pop(experiment, None)
        for answer in answers:
            if visit_rows.lacks_visits(before, answer):
                continue
            span = span_after(self._spans.get(answer.equipment), answer, now)
            if span is not None:
                self._spans[answer.equipment] = span

    def see(self, seen: FolderSeen, now: datetime) -> None:
        for located in seen.located:
            row = self._remember(located.experiment, "")
            if is_back(
                was_seen=bool(row.source),
                was_usable=bool(row.source) and row.vanished is None and is_usable(row.problem),
                is_released=row.released is not None,
                has_copies=bool(self._record_of(row).copies),
            ):
                row.changed = now
            row.source = located.source
            row.vanished, row.problem, row.link_target = None, None, located.target
        for link in seen.broken:
            if link.experiment is not None:
                row = self._remember(link.experiment, link.path)
                row.vanished, row.problem, row.link_target = None, str(link), link.target
        epns = seen.epns
        for experiment, row in self._rows.items():
            here = row.source.rpartition("/")[0] == seen.folder
            if here and experiment.epn not in epns and row.vanished is None:
                row.vanished = now
                self._made.pop(experiment, None)

    def _remember(self, experiment: Experiment, source: str) -> _Row:
        row = self._rows.get(experiment)
        if row is None:
            row = self._rows[experiment] = _Row(experiment, source)
        row.source = source or row.source
        self._made.pop(experiment, None)
        return row

    def records(self) -> list[ExperimentRecord]:
        for experiment, row in self._rows.items():
            if experiment not in self._made:
                self._made[experiment] = self._record_of(row)
        noted = [
            ExperimentRecord(one, note=note, mailed=one.epn in self._mailed)
            for one, note in self._notes.items()
            if one not in self._rows and note.reason != CALLED_OFF
        ]
        told = (
            replace(item, earlier=self._off.get((item.visit.id, item.visit.epn.text)))
            for item in self._visits.values()
        )
        return combine([*self._made.values(), *noted], told)

    def _record_of(self, row: _Row) -> ExperimentRecord:
        left_out = None if row.files is None else NOTHING_LEFT_OUT
        copies = [
            replace(one.record, left_out=left_out)
            for one in self._copies.values()
            if one.record.copy.experiment == row.experiment and one.record.forgotten is None
        ]
        copies.sort(key=lambda one: str(one.copy.destination))
        return ExperimentRecord(
            experiment=row.experiment,
            source=row.source,
            seen=True,
            visible=bool(row.source) and row.vanished is None,
            link_target=row.link_target,
            problem=row.problem,
            listed=row.listed,
            files=row.files,
            bytes=row.bytes,
            modified=row.modified,
            changed=row.changed,
            vanished=row.vanished,
            released=row.released,
            release_reason=None if row.released is None else "not needed",
            copies=tuple(copies),
            note=self._notes.get(row.experiment),
            mailed=row.experiment.epn in self._mailed,
        )

    # `ignore.yml`, notes, mails.

    def entries(
        self, said: Mapping[str, Origin | None], now: datetime, *, store: bool
    ) -> dict[str, IgnoreEntry]:
        found = entries_now(self._entries, said, now, is_first_read=not self._read)
        if store:
            self._entries, self._read = found, True
        return dict(found)

    def add_entries(self, entries: Mapping[str, IgnoreEntry]) -> None:
        self._entries |= entries

    def note(
        self,
        undone: Mapping[Experiment, tuple[str, str]],
        done: Collection[Experiment],
        now: datetime,
    ) -> None:
        for experiment in done:
            self._notes.pop(experiment, None)
            self._made.pop(experiment, None)
        for experiment, (project, reason) in undone.items():
            before = self._notes.get(experiment)
            since = now if before is None else min(before.since, now)
            self._notes[experiment] = DueNote(project, since, now, reason)
            self._made.pop(experiment, None)

    def mailed(self, epns: Collection[Epn], now: datetime) -> None:
        if not self._mailed.issuperset(epns):
            self._mailed.update(epns)
            self._made.clear()

    # Copies.

    def acquire_lease(self, wanted: Copy, now: datetime) -> int:
        for one in self._copies.values():
            record = one.record
            if record.copy.destination != wanted.destination or record.forgotten is not None:
                continue
            if record.copy.experiment == wanted.experiment:
                continue
            if record.was_complete or record.transfers:
                raise DestinationTaken(f"{wanted.destination} belongs to {record.copy.epn}")
            one.record = replace(
                record, forgotten=now, forget_reason="nothing was transferred to it"
            )
        self._remember(wanted.experiment, wanted.source)
        kept = self._find(wanted)
        if kept is not None:
            place = replace(kept.record.copy, project_folder=wanted.project_folder)
            kept.record = replace(kept.record, copy=place, forgotten=None, forget_reason=None)
            return kept.record.id
        number, self._next = self._next, self._next + 1
        self._copies[number] = _Copy(_new_record(number, wanted))
        return number

    def release_claim(self, copy_id: int) -> None:
        pass

    def list_files(self, wanted: Copy, files: Files, at_home: Files, now: datetime) -> int:
        row = self._remember(wanted.experiment, wanted.source)
        kept = self._find(wanted)
        lost = [] if kept is None or not kept.held else _missing(files, at_home)
        if kept is not None and lost:
            self._lose(kept, {path: files[path] for path in lost})
        if row.files is not None and row.contents != files:
            row.changed = now
        row.listed = now
        row.files, row.bytes = len(files), sum(size for size, _ in files.values())
        if files:
            row.modified = datetime.fromtimestamp(max(when for _, when in files.values()), UTC)
        row.contents, row.vanished = dict(files), None
        if kept is not None and lost:
            self._sum_up(kept, row, now)
        self._next, number = self._next + 1, self._next
        return number

    def _find(self, wanted: Copy) -> _Copy | None:
        for one in self._copies.values():
            kept = one.record.copy
            if (kept.experiment, kept.destination) == (wanted.experiment, wanted.destination):
                return one
        return None

    def _lose(self, kept: _Copy, lost: Files) -> None:
        values: dict[str, Any] = {"level": None, "verified": None}
        for path, what in lost.items():
            held = kept.held.get(path)
            if held is not None and held[:2] == what:
                kept.held[path] = (*what, None, True)
                suspect = kept.record.was_complete
                values |= {"completed": None, "listed": None, "suspect": suspect}
        kept.record = replace(kept.record, **values)

    def _sum_up(self, kept: _Copy, row: _Row, when: datetime) -> None:
        levels = [level for _, _, level, _ in kept.held.values() if level is not None]
        damaged = sum(missing for *_, missing in kept.held.values())
        level = min(levels) if levels and len(levels) == len(kept.held) and not damaged else None
        if any(kept.held.get(path, ())[:2] != what for path, what in row.contents.items()):
            level = None
        kept.record = replace(
            kept.record, level=level, verified=when, damaged=damaged, missing=damaged
        )

    def hold(self, copy_id: int, found: ListingDiff, level: Level) -> None:
        kept = self._copies[copy_id]
        for path, what in self._rows[kept.record.copy.experiment].contents.items():
            held = kept.held.get(path)
            if held is None or held[:2] != what or held[3]:
                kept.held[path] = (*what, level, False)

    def record(self, copy_id: int, attempt: Attempt, listing_diff: ListingDiff | None) -> None:
        kept = self._copies[copy_id]
        row = self._rows[kept.record.copy.experiment]
        self._made.pop(row.experiment, None)
        self._tried(kept, attempt)
        if listing_diff is None:
            return
        values: dict[str, Any] = {"files": listing_diff.files, "bytes": listing_diff.bytes}
        if attempt.verdict is Verdict.COMPLETE:
            values |= {
                "completed": attempt.ended,
                "listed": listing_diff.listed_at,
                "suspect": False,
            }
            kept.begun.append(attempt.started)
            if row.changed is not None and row.changed > attempt.ended:
                row.changed = listing_diff.listed_at
        kept.record = replace(kept.record, **values)
        self._sum_up(kept, row, attempt.ended)

    def record_unlisted(self, wanted: Copy, attempt: Attempt) -> None:
        unseen = replace(wanted, source="")
        self._tried(self._copies[self.acquire_lease(unseen, attempt.ended)], attempt)

    def _tried(self, kept: _Copy, attempt: Attempt) -> None:
        last = LastAttempt(attempt.ended, attempt.verdict, attempt.reason)
        kept.record = replace(
            kept.record,
            attempts=kept.record.attempts + 1,
            transfers=kept.record.transfers + bool(attempt.engine),
            last=last,
        )

    # What people and backups do.

    def release_experiment(self, experiment: Experiment, now: datetime) -> None:
        self._remember(experiment, "").released = now

    def refetch_copy(self, record: CopyRecord) -> None:
        kept = self._copies[record.id]
        kept.held = {}
        kept.record = replace(
            kept.record, completed=None, listed=None, suspect=False, level=None, verified=None,
            damaged=0, missing=0, losses=None,
        )  # fmt: skip
        self._remember(record.copy.experiment, "").released = None

    def correct_times(self, now: datetime) -> None:
        self._entries = {
            epn: replace(entry, since=now) if is_future(entry.since, now) else entry
            for epn, entry in self._entries.items()
        }
        for kept in self._copies.values():
            listed = kept.record.listed
            if listed is not None and is_future(listed, now):
                begun = max((one for one in kept.begun if one <= now), default=_UNKNOWN)
                kept.record = replace(kept.record, completed=now, listed=begun)
                self._remember(kept.record.copy.experiment, "").changed = now
        for experiment, row in self._rows.items():
            if row.released is not None and is_future(row.released, now):
                self._remember(experiment, "").released = None
                self._notes.setdefault(
                    experiment, DueNote("", now, now, "its release was taken back")
                )

    def note_losses(self, wanted: Copy, listing_diff: ListingDiff) -> None:
        kept = self._find(wanted)
        if kept is None or kept.record.forgotten is not None or not kept.record.was_complete:
            return
        contents = self._rows[wanted.experiment].contents
        gone = {path: one for path, one in kept.held.items() if path not in contents}
        less = {path: one for path, one in kept.held.items() if contents.get(path, one)[0] < one[0]}
        lost = NO_LOSSES
        if gone or less:
            lost = Losses(
                DataSize(sum(one[0] for one in gone.values()), len(gone)),
                DataSize(sum(one[0] - contents[path][0] for path, one in less.items()), len(less)),
                sum(one[3] for one in (gone | less).values()),
                tuple(path.encode() for path in sorted(gone | less)[:3]),
            )
        summary = loss_summary(kept.record, listing_diff, lost)
        if summary != kept.record.losses:
            kept.record = replace(kept.record, losses=summary)
            self._made.pop(wanted.experiment, None)

    def back_up(self) -> object:
        return {
            "_rows": {key: copy.copy(row) for key, row in self._rows.items()},
            "_copies": {key: _copied(one) for key, one in self._copies.items()},
            "_visits": dict(self._visits),
            "_off": dict(self._off),
            "_spans": dict(self._spans),
            "_entries": dict(self._entries),
            "_read": self._read,
            "_notes": dict(self._notes),
            "_mailed": set(self._mailed),
        }

    def restore(self, backup: object) -> None:
        assert isinstance(backup, dict)
        rows = {key: copy.copy(row) for key, row in backup["_rows"].items()}
        copies = {key: _copied(one) for key, one in backup["_copies"].items()}
        self.__dict__.update({key: copy.copy(value) for key, value in backup.items()})
        self.__dict__.update(_rows=rows, _copies=copies)
        self._made.clear()


def _copied(one: _Copy) -> _Copy:
    return _Copy(one.record, dict(one.held), list(one.begun))


def _new_record(number: int, wanted: Copy) -> CopyRecord:
    return CopyRecord(
        id=number, copy=wanted, completed=None, listed=None, suspect=False, level=None,
        verified=None, damaged=0, files=None, bytes=None, attempts=0, last=None,
    )  # fmt: skip


def loss_summary(record: CopyRecord, listing_diff: ListingDiff, lost: Losses) -> str | None:
    """As `repatriation.capacity` has it."""
    held = DataSize(record.bytes or 0, record.files or 0)
    found = shrinking(held, DataSize(listing_diff.bytes, listing_diff.files), lost)
    return found.summary if found else None


def _missing(files: Files, at_home: Files) -> list[str]:
    return [path for path, what in files.items() if at_home.get(path) != what]
