"""The store of a world on asynchy's own catalogue."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from asynchy.catalogue import Catalogue
from asynchy.catalogue.copy_files import CopyFiles
from asynchy.catalogue.facility_losses import losses
from asynchy.catalogue.notifications import PendingMail
from asynchy.model.attempt import Attempt
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Entry, EntryKind, Experiment, ListingDiff, LocalState
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.observed import FolderSeen
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.verification import Level
from asynchy.model.visit import EquipmentVisits
from tests.worlds.memory_catalogue import Files, loss_summary


class SqliteStore:
    """The same on asynchy's own catalogue."""

    _CLOCKS = ("asynchy.catalogue.copies._now", "asynchy.catalogue.scans._now")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._catalogue = Catalogue.open(path)
        self._time = datetime(2026, 1, 1, tzinfo=UTC)
        self._clocks = [mock.patch(name, lambda: self._time) for name in self._CLOCKS]
        for clock in self._clocks:
            clock.start()

    def close(self) -> None:
        """Give the catalogue its own clock back."""
        for clock in self._clocks:
            clock.stop()

    def answered_until(self) -> dict[int, datetime]:
        return self._catalogue.overview.answered_until()

    def begun_visits(self, equipment: int, since: datetime, until: datetime) -> int:
        return self._catalogue.overview.begun_visits(equipment, since, until)

    def keep_visits(self, answers: Sequence[EquipmentVisits], now: datetime) -> None:
        self._catalogue.overview.keep_visits(answers, now)

    def see(self, seen: FolderSeen, now: datetime) -> None:
        self._catalogue.see(seen, now)

    def records(self) -> list[ExperimentRecord]:
        return self._catalogue.overview.records()

    def entries(
        self, said: Mapping[str, Origin | None], now: datetime, *, store: bool
    ) -> dict[str, IgnoreEntry]:
        return self._catalogue.ignore_entries.compare(said, now, store=store)

    def add_entries(self, entries: Mapping[str, IgnoreEntry]) -> None:
        self._catalogue.ignore_entries.add(entries)

    def note(
        self,
        undone: Mapping[Experiment, tuple[str, str]],
        done: Collection[Experiment],
        now: datetime,
    ) -> None:
        self._catalogue.notifications.note(undone, done, now)

    def mailed(self, epns: Collection[Epn], now: datetime) -> None:
        mail = PendingMail(now, b"", tuple(epns))
        self._catalogue.notifications.keep(mail)
        self._catalogue.notifications.taken(mail, now)

    def acquire_lease(self, wanted: Copy, now: datetime) -> int:
        self._time = now
        found = self._catalogue.acquire_lease(wanted)
        assert isinstance(found, int)
        return found

    def release_claim(self, copy_id: int) -> None:
        self._catalogue.leases.release(copy_id)

    def list_files(self, wanted: Copy, files: Files, at_home: Files, now: datetime) -> int:
        self._time = now
        listing = self._catalogue.listing(wanted)
        assert listing is not None
        for path, (size, modified) in files.items():
            entry = Entry(EntryKind.FILE, path.encode(), size, modified, 0o644)
            there = at_home.get(path) == (size, modified)
            listing.add(entry, LocalState.AS_LISTED if there else LocalState.MISSING)
        listing.finish(None)
        return listing.number

    def hold(self, copy_id: int, found: ListingDiff, level: Level) -> None:
        holdings: CopyFiles = self._catalogue.copy_files(copy_id)
        assert found.listing is not None
        assert holdings.take(found.listing, (found.files, found.bytes), level)

    def record(self, copy_id: int, attempt: Attempt, listing_diff: ListingDiff | None) -> None:
        self._catalogue.record(copy_id, attempt, listing_diff)

    def record_unlisted(self, wanted: Copy, attempt: Attempt) -> None:
        self._time = attempt.ended
        self._catalogue.record_unlisted(wanted, attempt)

    def release_experiment(self, experiment: Experiment, now: datetime) -> None:
        self._catalogue.decisions.release(experiment, "not needed", now)

    def refetch_copy(self, record: CopyRecord) -> None:
        self._catalogue.decisions.refetch(record, self._time)

    def correct_times(self, now: datetime) -> None:
        self._catalogue.correct_times(now)

    def note_losses(self, wanted: Copy, listing_diff: ListingDiff) -> None:
        record = self._catalogue.copy_record(wanted)
        if record is not None and record.was_complete:
            lost = losses(self._catalogue.copy_files(record.id))
            self._catalogue.note_losses(record.id, loss_summary(record, listing_diff, lost))

    def back_up(self) -> object:
        kept = self._path.with_name(f"backup-{os.urandom(4).hex()}.db")
        with sqlite3.connect(self._path) as source, sqlite3.connect(kept) as target:
            source.backup(target)
        source.close()
        target.close()
        return kept

    def restore(self, backup: object) -> None:
        assert isinstance(backup, Path)
        for end in ("-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        shutil.copyfile(backup, self._path)
