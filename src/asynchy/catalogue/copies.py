"""The catalogue: what is known of experiments, their copies, claims on them, and attempts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from asynchy.catalogue import visits
from asynchy.catalogue.arrivals import Arrivals
from asynchy.catalogue.clock_corrections import correct_times
from asynchy.catalogue.copy_decisions import CopyDecisions
from asynchy.catalogue.copy_files import CopyFiles, sum_up
from asynchy.catalogue.copy_rows import (
    correct_future,
    find_copy,
    listed_values,
    record_death,
    remember_copy,
)
from asynchy.catalogue.database import Database
from asynchy.catalogue.experiment_files import ExperimentFiles, ListingWriter
from asynchy.catalogue.experiments import keep_visible, known_folders, remember
from asynchy.catalogue.file_reads import FileReads
from asynchy.catalogue.health import Health
from asynchy.catalogue.held_others import HeldOthers
from asynchy.catalogue.history import History
from asynchy.catalogue.ignore_entries import StoredIgnoreEntries
from asynchy.catalogue.leases import Leases, require_lease
from asynchy.catalogue.legacy_import import is_original
from asynchy.catalogue.legacy_upgrade import previewed, upgrade_legacy_database
from asynchy.catalogue.notifications import Notifications
from asynchy.catalogue.outbox import Outbox
from asynchy.catalogue.overview import Overview
from asynchy.catalogue.pauses import Pauses
from asynchy.catalogue.row_mapping import attempt_of, living_of, service_of
from asynchy.catalogue.schema import attempts, checks, claims, copies, services, sightings
from asynchy.catalogue.statements import server_time
from asynchy.catalogue.transfer_progress import TransferProgress
from asynchy.catalogue.web_access import WebAccess
from asynchy.catalogue.web_reads import WebReads
from asynchy.errors import CatalogueError
from asynchy.localfs import process_identity
from asynchy.model.attempt import Attempt, Claim, ServiceState, Verdict
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.copy_record import CopyRecord, Replaced
from asynchy.model.experiment import Copy, Experiment, ListingDiff, LocatedExperiment
from asynchy.model.observed import FolderSeen
from asynchy.model.relocation import KnownFolder
from asynchy.model.verification import Check
from asynchy.model.visit import Visit


def _now() -> datetime:
    return datetime.now(UTC)


class Catalogue:
    """One database, each method one short transaction; safe to use from several threads.

    All methods raise `CatalogueError` where the database cannot be used.
    """

    def __init__(self, database: Database, *, writing: bool) -> None:
        self.address = database.address
        """Where it is; as text for people it has no password."""
        self.path = database.path
        """What the files of this machine beside it are named after, such as locks."""
        self._database = database
        self.overview = Overview(database)
        self.files = FileReads(database)
        self.health = Health(database)
        self.leases = Leases(database)
        self.history = History(database)
        self.pauses = Pauses(database)
        self.notifications = Notifications(database)
        self.outbox = Outbox(database)
        self.arrivals = Arrivals(database)
        self.ignore_entries = StoredIgnoreEntries(database)
        self.decisions = CopyDecisions(database)
        self.transfers = TransferProgress(database)
        self.web = WebReads(database)
        self.web_access = WebAccess(database)
        self.writing = writing
        """Whether it was opened for more than a look."""

    @classmethod
    def open(cls, address: CatalogueAddress) -> Catalogue:
        """Open for writing; make the database where there is none.

        A database of the original `asynchy` is taken over.

        Raises:
            CatalogueError: it cannot be opened, or must not be.
        """
        if isinstance(address, Path):
            upgrade_legacy_database(address)
        return cls(Database.open(address), writing=True)

    @classmethod
    def open_readonly(cls, address: CatalogueAddress) -> Catalogue:
        """Open for reading alone: nothing is written or made; where there is none, it is empty.

        Raises:
            CatalogueError: it cannot be opened, or is a database of the original `asynchy`.
        """
        if isinstance(address, Path) and is_original(address):
            raise CatalogueError(
                f"{address} is a database of the original asynchy",
                hint="`asynchy sync` takes it over and keeps it beside; `asynchy sync --dry-run` "
                "shows what it would fetch",
            )
        return cls(Database.open_readonly(address), writing=False)

    @classmethod
    def open_existing(cls, address: CatalogueAddress) -> Catalogue:
        """Open for reading alone.

        Raises:
            CatalogueError: there is none, or as `open_readonly`.
        """
        if not cls.exists(address):
            raise CatalogueError(
                f"there is no catalogue at {address}",
                hint="look whether it was moved, or its disk is not mounted; `asynchy catalogue "
                "restore` puts a backup there; of a new installation, `mxsync --execute` makes it",
            )
        return cls.open_readonly(address)

    @classmethod
    def preview(cls, address: CatalogueAddress) -> Catalogue:
        """For reading alone; of an older version or the original's, what `open` would make of it.

        Raises:
            CatalogueError: it cannot be opened, or not be taken over.
        """
        if isinstance(address, Path) and is_original(address):
            return cls(previewed(address), writing=False)
        return cls(Database.preview(address), writing=False)

    @staticmethod
    def exists(address: CatalogueAddress) -> bool:
        """Whether there is one; an empty file, or a database without tables, is none.

        Raises:
            CatalogueError: its server cannot be asked.
        """
        return Database.exists(address)

    def size(self) -> int:
        """Bytes that it takes on the disk."""
        return self._database.size()

    def copy_record(self, copy: Copy) -> CopyRecord | None:
        """What is known of a copy; None: nothing."""
        of_epn = self.overview.copies([copy.epn.text])
        return next(
            (
                one
                for one in of_epn
                if one.copy.experiment == copy.experiment
                and one.copy.destination == copy.destination
            ),
            None,
        )

    def listing(self, copy: Copy) -> ListingWriter | None:
        """Where a listing of an experiment is stored while it is made; None if we only look."""
        if not self.writing:
            return None
        located = LocatedExperiment(copy.experiment, copy.source)
        return ListingWriter(self._database, located, self.copy_files_of(copy))

    def contents(self, copy: Copy, copy_id: int, listing: int | None = None) -> ExperimentFiles:
        """What an experiment is known to hold, or what a listing saw, for one of its copies."""
        with self._database.transaction() as db:
            experiment_id = remember(db, copy.experiment, copy.source, _now())
        return ExperimentFiles(self._database, experiment_id, copy_id, listing)

    def copy_files_of(self, copy: Copy) -> CopyFiles | None:
        """What a copy is known to hold; None: nothing."""
        with self._database.transaction() as db:
            row = db.execute(find_copy(copy)).one_or_none()
        holdings = None if row is None else self._holdings(row)
        return None if holdings is None or holdings.empty else holdings

    def copy_files(self, copy_id: int) -> CopyFiles:
        """What a copy holds."""
        with self._database.transaction() as db:
            query = select(copies.c.experiment_id).where(copies.c.id == copy_id)
            return CopyFiles(self._database, copy_id, db.execute(query).scalar_one())

    def held_others(self, copy_id: int) -> HeldOthers:
        """The links and special files that a copy holds."""
        return HeldOthers(self._database, copy_id)

    def round_trip(self) -> float | None:
        """Seconds to the facility and back in the latest walk or listing.

        None if that did not come to its end: it may be that nobody can log in any more.
        """
        query = select(sightings.c.round_trip).where(sightings.c.kind != "import")
        with self._database.transaction() as db:
            return db.scalar(query.order_by(sightings.c.id.desc()).limit(1))

    def acquire_lease(self, copy: Copy) -> int | Claim:
        """Claim a copy for this process: its id in the catalogue, or the claim that stands.

        A claim whose process died is taken over, and the attempt that it stood for recorded as
        interrupted.

        Raises:
            DestinationTaken: another experiment has its copy there.
        """
        found = self.leases.acquire(copy, _now())
        return found if isinstance(found, Claim) else found.copy_id

    def record_interrupted(self) -> None:
        """Record the attempts whose processes died as interrupted; they claim nothing any more."""
        with self._database.transaction() as db:
            now = server_time(db)
            for row in db.execute(select(claims)).all():
                if living_of(row, now) is None:
                    record_death(db, row.copy_id, _now())

    def record(self, copy_id: int, attempt: Attempt, listing_diff: ListingDiff | None) -> None:
        """Store an attempt, and mark the copy complete where that is its verdict.

        This is the only place that does. `listing_diff` is the listing after the transfer.
        """
        lease = self.leases.of(copy_id)
        with self._database.transaction() as db:
            require_lease(db, lease)
            values = {**asdict(attempt), "verdict": attempt.verdict.value}
            number = None if lease is None else lease.number
            db.execute(insert(attempts).values(copy_id=copy_id, lease=number, **values))
            if listing_diff is None:
                return
            values = listed_values(listing_diff)
            if attempt.verdict is Verdict.COMPLETE:
                values |= {
                    "completed": attempt.ended,
                    "completed_listing": listing_diff.listed_at,
                    "fingerprint": listing_diff.fingerprint,
                    "doubted": False,
                }
            db.execute(update(copies).where(copies.c.id == copy_id).values(values))
            if attempt.verdict is Verdict.COMPLETE:
                correct_future(db, copy_id, attempt.ended, listing_diff.listed_at)
            sum_up(db, copy_id, attempt.ended)

    def confirm(self, copy_id: int, listing_diff: ListingDiff, now: datetime) -> None:
        """A complete copy was found complete once more: all that was just listed is at home."""
        values = {
            "completed": now,
            "completed_listing": listing_diff.listed_at,
            "fingerprint": listing_diff.fingerprint,
            **listed_values(listing_diff),
        }
        complete = copies.c.completed.is_not(None) & ~copies.c.doubted
        with self._database.transaction() as db:
            require_lease(db, self.leases.of(copy_id))
            db.execute(update(copies).where(copies.c.id == copy_id, complete).values(values))
            correct_future(db, copy_id, now, listing_diff.listed_at)

    def record_unlisted(self, copy: Copy, attempt: Attempt) -> None:
        """Store that an experiment could not be listed, as an attempt for its copy."""
        with self._database.transaction() as db:
            values = {**asdict(attempt), "verdict": attempt.verdict.value}
            # Where it should be is not where it was seen: what never was there is not gone.
            copy_id = remember_copy(db, replace(copy, source=""), _now())
            db.execute(insert(attempts).values(copy_id=copy_id, **values))

    def note_losses(self, copy_id: int, losses: str | None) -> None:
        """Store what the facility no longer has of a copy, for people; None: it has all of it."""
        with self._database.transaction() as db:
            db.execute(update(copies).where(copies.c.id == copy_id).values(losses=losses))

    def note_replaced(self, copy_id: int, kept: Replaced, when: datetime | None) -> None:
        """Store what is kept beside a copy of earlier versions of its files.

        `when`: one was replaced then; None: it was only counted again.
        """
        values: dict[str, Any] = {
            "replaced_files": kept.files,
            "replaced_bytes": kept.bytes,
            "replaced_by_less": kept.by_less,
        }
        if when is not None:
            values["replaced"] = when
        with self._database.transaction() as db:
            db.execute(update(copies).where(copies.c.id == copy_id).values(values))

    def latest_time(self) -> datetime | None:
        """The latest time at which anything ended, as the clock of that day said; None: nothing."""
        ends = [select(func.max(table.c.ended)).scalar_subquery() for table in (attempts, checks)]
        with self._database.looking() as db:
            return max((end for end in db.execute(select(*ends)).one() if end), default=None)

    def correct_times(self, now: datetime) -> tuple[str, ...]:
        """Correct what a clock that was ahead stored; `now` is known to be right.

        What was corrected, a sentence each, for people.
        """
        with self._database.transaction() as db:
            return correct_times(db, now)

    def see(self, seen: FolderSeen, now: datetime) -> None:
        """Store which experiments there are in a folder at the facility, all of which was listed.

        One of that folder that is not among them is no longer at the facility.
        """
        with self._database.transaction() as db:
            keep_visible(db, seen, now)

    def known_folders(self) -> dict[Experiment, KnownFolder]:
        """Where each experiment was last seen at the facility, of those that were seen there."""
        with self._database.transaction() as db:
            return known_folders(db)

    def note(self, copy_id: int, check: Check) -> None:
        """Store a check of a copy."""
        lease = self.leases.of(copy_id)
        number = None if lease is None else lease.number
        with self._database.transaction() as db:
            require_lease(db, lease)
            db.execute(insert(checks).values(copy_id=copy_id, lease=number, **asdict(check)))

    def last_attempts(self, copy_ids: Collection[int]) -> dict[int, Attempt]:
        """The latest attempt for each of some copies, with what the programs said."""
        latest = select(func.max(attempts.c.id)).group_by(attempts.c.copy_id)
        query = select(attempts).where(attempts.c.id.in_(latest))
        with self._database.transaction() as db:
            wanted = set(copy_ids)
            rows = db.execute(query)
            return {row.copy_id: attempt_of(row) for row in rows if row.copy_id in wanted}

    def unchanged_since(self, record: CopyRecord) -> bool:
        """Whether nobody has worked on a copy since its record was read.

        Whoever has claimed it since, and died, may have worked on it.
        """
        mine = attempts.c.copy_id == record.id
        claimed = select(claims.c.copy_id).where(claims.c.copy_id == record.id)
        with self._database.transaction() as db:
            tried = db.scalar(select(func.count()).select_from(attempts).where(mine))
            return tried == record.attempts and db.execute(claimed).one_or_none() is None

    def visits_of(self, experiment: Experiment, now: datetime) -> list[Visit]:
        """The visits of an experiment that have ended and are known, the earliest first."""
        with self._database.transaction() as db:
            return visits.ended_of(db, experiment, now)

    def tell(
        self,
        name: str,
        *,
        since: datetime,
        doing: str,
        next_look: datetime | None,
        trouble: str | None,
    ) -> None:
        """Store what this process, a service, is doing."""
        pid, identity = process_identity.own_process()
        with self._database.transaction() as db:
            db.execute(delete(services).where(services.c.name == name))
            db.execute(
                insert(services).values(
                    name=name,
                    host=process_identity.host(),
                    pid=pid,
                    process=identity,
                    since=since,
                    heartbeat=_now(),
                    doing=doing,
                    next_look=next_look,
                    trouble=trouble,
                )
            )

    def services(self) -> list[ServiceState]:
        """What the services last told of themselves."""
        with self._database.transaction() as db:
            return [service_of(row) for row in db.execute(select(services).order_by("name"))]

    def _holdings(self, row: Row[Any]) -> CopyFiles:
        lease = self.leases.of(row.id)
        return CopyFiles(self._database, row.id, row.experiment_id, lease=lease)
