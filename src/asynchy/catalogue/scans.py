"""Walks, listings and imports: how files come into the catalogue, many at a time.

Rows are collected and written in one transaction about once a second. What a walk has listed of a
folder and that the folder is done are committed together, so that a crash costs the listing of a
few folders and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from asynchy.catalogue import experiments as experiment_rows
from asynchy.catalogue.bulk import Bulk
from asynchy.catalogue.column_types import as_time
from asynchy.catalogue.database import Database
from asynchy.catalogue.experiments import LegacyEpnRow
from asynchy.catalogue.scan_results import Changes, NotFound, ScanProblem
from asynchy.catalogue.schema import (
    copies,
    experiments,
    files,
    folders,
    frontier,
    others,
    sightings,
)
from asynchy.catalogue.statements import names_epn, run_sql
from asynchy.catalogue.unlisted_folders import forget_unseen
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Entry, Experiment, LocatedExperiment
from asynchy.model.file_times import TIME_UNKNOWN

Row = tuple[bytes, int, int, int | None]
"""A file: its path within the experiment, its size, its time in seconds since 1970 in UTC, and
its permission bits where they are known."""

_ROWS = 20_000
_SECONDS = 1.0
_FINISHING = 0.2
"""Seconds of a transaction that adds up several experiments."""
_RESUMED = timedelta(days=7)

_UPSERT = """
INSERT INTO files (experiment_id, path, size, modified, mode, since, seen)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (experiment_id, path) DO UPDATE SET
"""
_AS_SEEN = """
since = CASE WHEN files.size = excluded.size AND files.modified = excluded.modified
             THEN files.since ELSE excluded.since END,
seen = CASE WHEN files.seen > excluded.seen THEN files.seen ELSE excluded.seen END,
size = excluded.size, modified = excluded.modified, mode = excluded.mode
"""
_THE_LATER = """
since = excluded.since, seen = excluded.seen, size = excluded.size, modified = excluded.modified,
mode = NULL
WHERE (excluded.modified, excluded.size) > (files.modified, files.size)
"""
_UPSERT_FOLDER = """
INSERT INTO folders (experiment_id, path, modified, mode, seen) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (experiment_id, path) DO UPDATE SET
modified = excluded.modified, mode = excluded.mode,
seen = CASE WHEN folders.seen > excluded.seen THEN folders.seen ELSE excluded.seen END
"""
_KEEP_FOUND = "INSERT INTO frontier (experiment_id, path) VALUES (?, ?) ON CONFLICT DO NOTHING"
_UPSERT_OTHER = """
INSERT INTO others (experiment_id, path, kind, seen) VALUES (?, ?, ?, ?)
ON CONFLICT (experiment_id, path) DO UPDATE SET
kind = excluded.kind,
seen = CASE WHEN others.seen > excluded.seen THEN others.seen ELSE excluded.seen END
"""


class ScanWriter:
    """One walk, listing or import, under way. Safe to use from several threads.

    All methods raise `CatalogueError` where the database cannot be used.
    """

    def __init__(
        self, database: Database, identity: int, kind: str, *, resumed: bool = False
    ) -> None:
        self.id = identity
        self.resumed = resumed
        """Whether it goes on where an earlier one was stopped."""
        self._kind = kind
        self._database = database
        self._upsert = _UPSERT + (_THE_LATER if kind == "import" else _AS_SEEN)
        self._lock = threading.Lock()
        self._files: list[tuple[int, bytes, int, int, int | None, int, int]] = []
        self._folders: list[tuple[int, bytes, int, int, int]] = []
        self._others: list[tuple[int, bytes, str, int]] = []
        self._found: list[tuple[int, bytes]] = []
        self._listed: list[tuple[int, bytes]] = []
        self._failed: list[tuple[str, int, bytes]] = []
        self._sources: dict[int, str] = {}  # of a listing: stored once something was listed there
        self._flushed = time.monotonic()

    @classmethod
    def begin(cls, catalogue: CatalogueAddress, kind: str, origin: str) -> ScanWriter:
        """A new walk, listing or import, in a catalogue that is opened for it; see `of`.

        Raises:
            CatalogueError: the catalogue cannot be used.
        """
        return cls.of(Database.open(catalogue), kind, origin)

    @classmethod
    def of(cls, database: Database, kind: str, origin: str) -> ScanWriter:
        """A new walk, listing or import.

        A walk of the same origin that did not end goes on for a week. After that, what it has
        listed is too old to be passed over.

        Raises:
            CatalogueError: the catalogue cannot be used.
        """
        unended = select(func.max(sightings.c.id)).where(
            sightings.c.kind == "walk",
            sightings.c.origin == origin,
            sightings.c.ended.is_(None),
            sightings.c.started > _now() - _RESUMED,
        )
        with database.transaction() as db:
            identity = db.scalar(unended) if kind == "walk" else None
            resumed = identity is not None
            if not resumed:
                if kind == "walk":
                    db.execute(delete(frontier))
                new = insert(sightings).values(kind=kind, origin=origin, started=_now())
                identity = db.execute(new.returning(sightings.c.id)).scalar_one()
        assert identity is not None
        return cls(database, int(identity), kind, resumed=resumed)

    def experiment(self, located: LocatedExperiment) -> tuple[int, int | None]:
        """Remember an experiment; its id, and the latest walk that listed all of it."""
        return self.experiments([located])[0]

    def experiments(self, found: Iterable[LocatedExperiment]) -> list[tuple[int, int | None]]:
        """Remember experiments; of each its id, and the latest walk that listed all of it."""
        with self._database.transaction() as db:
            return [self._remember(db, located) for located in found]

    def _remember(self, db: Connection, located: LocatedExperiment) -> tuple[int, int | None]:
        source, now = (located.source if self._kind == "import" else ""), _now()
        identity = experiment_rows.remember_located(db, located, source, now)
        if self._kind == "listing":
            self._sources[identity] = located.source
        elif self._kind == "walk":
            experiment_rows.keep_located(db, identity, located, now)
        mine = experiments.c.id == identity
        return identity, db.scalar(select(experiments.c.walk_id).where(mine))

    def unseen(self, seen: Collection[int]) -> list[NotFound]:
        """The experiments that are somewhere at the facility, without those that were seen."""
        complete = or_(
            experiments.c.completed_elsewhere,
            exists().where(
                copies.c.experiment_id == experiments.c.id, copies.c.completed.is_not(None)
            ),
        )
        query = select(experiments, complete.label("complete")).where(names_epn(experiments.c.epn))
        query = query.where(experiments.c.source != "", experiments.c.vanished.is_(None))
        with self._database.transaction() as db:
            return [
                NotFound(
                    row.id,
                    LocatedExperiment(Experiment(row.beamline, Epn(row.epn)), row.source),
                    bool(row.complete),
                )
                for row in db.execute(query.order_by(experiments.c.source))
                if row.id not in seen
            ]

    def gone(self, ids: Iterable[int]) -> None:
        """Experiments are no longer at the facility."""
        values = [{"gone": identity} for identity in ids]
        if values:
            with self._database.transaction() as db:
                row = experiments.c.id == bindparam("gone")
                db.execute(update(experiments).where(row).values(vanished=_now()), values)

    def report(self, reported: Iterable[LegacyEpnRow]) -> None:
        """Take what an original's table of EPNs says, in one transaction."""
        with self._database.transaction() as db:
            for said in reported:
                experiment_rows.store_legacy_epn(db, said, _now())

    def pending(self, experiment_id: int) -> list[bytes]:
        """The folders of an experiment that this walk has still to list; at first its root.

        Those that it could not list are not tried again.
        """
        mine = frontier.c.experiment_id == experiment_id
        with self._database.transaction() as db:
            rows = db.execute(select(frontier).where(mine)).all()
            if not rows:
                db.execute(insert(frontier).values(experiment_id=experiment_id, path=b"."))
                return [b"."]
            return [bytes(row.path) for row in rows if row.problem is None]

    def add(self, experiment_id: int, rows: Iterable[Row]) -> None:
        """Take files of an experiment."""
        number = self.id
        made = [
            (experiment_id, path, size, modified, mode, number, number)
            for path, size, modified, mode in rows
        ]
        with self._lock:
            self._files += made
            self._perhaps_write()

    def keep(self, experiment_id: int, found: Iterable[Entry]) -> None:
        """Take folders of an experiment with their times and modes."""
        with self._lock:
            self._folders += [
                (experiment_id, entry.path, entry.modified, entry.mode, self.id) for entry in found
            ]

    def add_others(self, experiment_id: int, entries: Iterable[Entry]) -> None:
        """Take dot files, links and special files of an experiment."""
        with self._lock:
            self._others += [(experiment_id, one.path, one.kind.value, self.id) for one in entries]

    def found(self, experiment_id: int, paths: Iterable[bytes]) -> None:
        """Take folders that have to be listed, too."""
        with self._lock:
            self._found += [(experiment_id, path) for path in paths]

    def listed(self, experiment_id: int, folder: bytes) -> None:
        """A folder's last entries have been handed over."""
        with self._lock:
            self._listed.append((experiment_id, folder))
            self._perhaps_write()

    def failed(self, experiment_id: int, folder: bytes, reason: str) -> None:
        """A folder could not be listed."""
        with self._lock:
            self._failed.append((reason, experiment_id, folder))

    def finish(self, experiment_id: int, unlisted: Collection[bytes] = ()) -> Changes:
        """Add up an experiment that was listed or imported.

        What was not seen is gone, unless a walk could not list some folder, or it is in a folder
        that a listing could not list (`unlisted`).
        """
        self.flush()
        with self._database.transaction() as db:
            return self._finish(db, experiment_id, unlisted)

    def finish_all(self, experiment_ids: Collection[int]) -> None:
        """Add up experiments, many small ones in one transaction: each waits for the disk."""
        self.flush()
        left = deque(experiment_ids)
        while left:
            with self._database.transaction() as db:
                begun = time.monotonic()
                while left and time.monotonic() - begun < _FINISHING:
                    self._finish(db, left.popleft(), ())

    def _finish(self, db: Connection, experiment_id: int, unlisted: Collection[bytes]) -> Changes:
        mine = files.c.experiment_id == experiment_id
        row = experiments.c.id == experiment_id
        known = db.execute(select(experiments).where(row)).one()
        before = known.files or 0
        left = select(func.count()).where(frontier.c.experiment_id == experiment_id)
        walked = self._kind == "walk" and db.scalar(left) == 0
        gone = 0
        if walked or self._kind == "listing":  # a later one may have seen more
            gone = forget_unseen(db, files, experiment_id, self.id, unlisted)
            forget_unseen(db, others, experiment_id, self.id, unlisted)
            if self._kind == "listing":
                forget_unseen(db, folders, experiment_id, self.id)
        count, size, latest, fresh = db.execute(
            select(
                func.count(),
                func.coalesce(func.sum(files.c.size), 0),
                func.max(files.c.modified),
                func.coalesce(func.sum(case((files.c.since == self.id, 1), else_=0)), 0),
            ).where(mine)
        ).one()
        new = count - before + gone
        changes = Changes(count, int(size), new, max(0, fresh - new), gone)
        values: dict[str, object] = {"files": count, "bytes": int(size)}
        if latest is not None and latest != TIME_UNKNOWN:
            values["modified"] = as_time(latest)
        if changes.any and experiment_rows.is_news(known, int(size)):
            values["changed"] = _now()
        if walked or (self._kind == "listing" and not unlisted):
            values |= experiment_rows.counted_others(db, experiment_id)
        if walked:
            values["walk_id"] = self.id
        if self._kind == "listing":
            values |= {"vanished": None, "source": self._sources[experiment_id]}
        db.execute(update(experiments).where(row).values(values))
        return changes

    def problems(self) -> tuple[int, list[ScanProblem]]:
        """How many folders could not be listed, and the first ten of them."""
        self.flush()
        bad = frontier.c.problem.is_not(None)
        query = (
            select(experiments.c.source, frontier.c.path, frontier.c.problem)
            .join(experiments, experiments.c.id == frontier.c.experiment_id)
            .where(bad)
            .order_by(experiments.c.source, frontier.c.path)
            .limit(10)
        )
        with self._database.transaction() as db:
            total = db.scalar(select(func.count()).select_from(frontier).where(bad)) or 0
            return total, [ScanProblem(row[0], bytes(row[1]), row[2]) for row in db.execute(query)]

    def end(self, round_trip: float | None = None) -> None:
        """It has seen everything; the facility is so many seconds away, where that was measured."""
        self.flush()
        row, values = sightings.c.id == self.id, {"ended": _now(), "round_trip": round_trip}
        with self._database.transaction() as db:
            db.execute(update(sightings).where(row).values(values))

    def flush(self) -> None:
        """Write what was collected."""
        with self._lock:
            self._write()

    def _perhaps_write(self) -> None:
        if len(self._files) >= _ROWS or time.monotonic() - self._flushed > _SECONDS:
            self._write()

    def _write(self) -> None:
        bulk: list[Bulk] = [
            (self._upsert, self._files),
            (_UPSERT_FOLDER, self._folders),
            (_UPSERT_OTHER, self._others),
            (_KEEP_FOUND, self._found),
        ]
        with self._database.transaction(bulk) as db:
            if self._listed:
                run_sql(
                    db, "DELETE FROM frontier WHERE experiment_id = ? AND path = ?", self._listed
                )
            if self._failed:
                run_sql(
                    db,
                    "UPDATE frontier SET problem = ? WHERE experiment_id = ? AND path = ?",
                    self._failed,
                )
        self._files, self._folders, self._others = [], [], []
        self._found, self._listed, self._failed = [], [], []
        self._flushed = time.monotonic()


def _now() -> datetime:
    return datetime.now(UTC)
