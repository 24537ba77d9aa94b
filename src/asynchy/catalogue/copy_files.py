"""What a copy holds: its files, how well each is proven, and their digests.

Filled by one statement when a copy is complete; read and marked in a stream, a page at a time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from asynchy.catalogue.database import Database
from asynchy.catalogue.file_selection import Selection
from asynchy.catalogue.leases import require_lease
from asynchy.catalogue.schema import copies, files, held
from asynchy.catalogue.statements import run_sql
from asynchy.model.experiment import Entry
from asynchy.model.lease import Lease
from asynchy.model.verification import CopyFile, Damage, Level, Recorded

_TAKEN = 20_000
"""Files taken in one transaction: some 0.2 s, in which others cannot write."""
_GAP = 0.01
"""Seconds between two of them: who waits looks again every 0.1 s at most."""
_PAST_ALL = b"\xff" * 5000
"""After every path; Linux has none of more than 4,096 bytes."""
_MISSING = Damage.MISSING.value
_EDITED = Damage.EDITED.value

# What a listing saw: a walk may have seen something else since.
_AS_LISTED = "experiment_id = :experiment AND since <= :listing AND seen >= :listing"
_COUNT = f"SELECT count(*), coalesce(sum(size), 0) FROM files WHERE {_AS_LISTED}"  # noqa: S608
_NEWLY = """ON CONFLICT (copy_id, path) DO UPDATE SET
size = excluded.size, modified = excluded.modified, level = excluded.level,
checked = excluded.checked, sha256 = NULL, damage = NULL, at_home = NULL
WHERE held.size <> excluded.size OR held.modified <> excluded.modified OR held.damage = 'missing'
"""
_TAKE = f"""
INSERT INTO held (copy_id, path, size, modified, level, checked)
SELECT CAST(:copy AS INTEGER), path, size, modified, CAST(:level AS INTEGER),
CAST(:now AS BIGINT) FROM files
WHERE {_AS_LISTED} AND path > :after AND path <= :upto
{_NEWLY}
"""  # noqa: S608 - no value in it
_ARRIVE = f"""
INSERT INTO held (copy_id, path, size, modified, level, checked) VALUES (?, ?, ?, ?, ?, ?)
{_NEWLY}
"""  # noqa: S608
_LAST_OF_PAGE = """
SELECT path FROM files WHERE experiment_id = :experiment AND path > :after
ORDER BY path LIMIT 1 OFFSET :skip
"""
_PROVE = """
UPDATE held SET level = ?, checked = ?, sha256 = coalesce(?, sha256), damage = NULL,
run = coalesce(?, run)
WHERE copy_id = ? AND path = ? AND size = ? AND modified = ?
"""
_DIGEST = """
UPDATE held SET sha256 = ? WHERE copy_id = ? AND path = ? AND size = ? AND modified = ?
"""
_AT_HOME = """
UPDATE held SET at_home = ? WHERE copy_id = ? AND path = ? AND size = ? AND modified = ?
"""
# Found again, a file is what was proven of it only if a digest says so.
_SPOIL = "damage = ?, level = CASE WHEN sha256 IS NULL THEN NULL ELSE level END"
_DAMAGE = f"""
UPDATE held SET {_SPOIL} WHERE copy_id = ? AND path = ? AND size = ? AND modified = ?
"""  # noqa: S608
_LOSE = f"{_DAMAGE} AND (damage IS NULL OR damage <> 'different')"
# It has the size and the time again that it had: that much is proven, and no more.
_AS_IT_WAS = """
UPDATE held SET damage = NULL, level = 1
WHERE damage = 'changed at home' AND copy_id = ? AND path = ? AND size = ? AND modified = ?
"""
_VANISHED = """
UPDATE held SET damage = 'changed'
WHERE copy_id = ? AND damage = 'different' AND NOT EXISTS (
    SELECT 1 FROM files WHERE experiment_id = ? AND files.path = held.path
    AND files.size = held.size AND files.modified = held.modified)
"""
_LACKS = """
SELECT EXISTS (SELECT 1 FROM files WHERE experiment_id = copies.experiment_id AND NOT EXISTS (
    SELECT 1 FROM held WHERE copy_id = copies.id AND held.path = files.path
    AND held.size = files.size AND held.modified = files.modified))
FROM copies WHERE id = ?
"""
_INCOMPLETE = {"completed": None, "completed_listing": None, "doubted": True}


@dataclass(frozen=True)
class CopyFiles:
    """The files of one copy. Its methods raise `CatalogueError` where the database is of no use."""

    database: Database
    copy_id: int
    experiment_id: int
    listing: int | None = None
    """The listing that says what the facility has; None: all that is known of it, also what is in
    folders that could not be listed since."""
    lease: Lease | None = None
    """Under which it is written; None: under none, as nobody else works on it."""

    @property
    def empty(self) -> bool:
        """Whether it is known to hold nothing."""
        with self.database.looking() as db:
            query = select(held.c.path).where(held.c.copy_id == self.copy_id).limit(1)
            return db.execute(query).one_or_none() is None

    def recorded(self, path: bytes) -> Recorded | None:
        """What a file was when it arrived; None: it is not known to be held."""
        query = select(held.c.size, held.c.modified, held.c.at_home).where(
            held.c.copy_id == self.copy_id, held.c.path == path
        )
        with self.database.looking() as db:
            row = db.execute(query).one_or_none()
        return None if row is None else Recorded(*row)

    def edited(self) -> Selection:
        """The files that people changed at home while the facility's are as they were."""
        return self._select([held.c.damage == _EDITED], listed=True)

    def known(self) -> int:
        """How many files of the copy are known to be at home as they were last listed."""
        query = (
            select(func.count())
            .select_from(held.join(files, self._listed()))
            .where(held.c.copy_id == self.copy_id, held.c.damage.is_distinct_from(_MISSING))
        )
        with self.database.looking() as db:
            return db.scalar(query) or 0

    def take(self, listing: int, found: tuple[int, int], level: Level | None) -> bool:
        """The copy holds what a listing saw; `level` is proven of what it was not known to hold.

        What is known of files with the same size and time stays, unless they were missing. `found`
        is how many files and bytes that listing told; False if the catalogue knows others by
        now: then nothing is stored or, where a walk sees others just then, only what was listed.
        A page at a time, so that no writer waits for long: what was stored when it is ended in the
        middle is true, and the copy is called complete only after all of it.
        """
        values = {
            "copy": self.copy_id,
            "experiment": self.experiment_id,
            "listing": listing,
            "level": level,
            "now": _seconds(datetime.now(UTC)),
        }
        for after, upto in self._pages(values, found):
            with self._writing() as db:
                run_sql(db, _TAKE, {**values, "after": after, "upto": upto})
            time.sleep(_GAP)
        with self.database.looking() as db:
            return tuple(run_sql(db, _COUNT, values).one()) == found

    def arrive(self, arrived: Iterable[Entry], level: Level | None) -> None:
        """Files are at home as they were listed, in a copy that is not complete yet.

        What is known of files with the same size and time stays, as in `take`.
        """
        now = _seconds(datetime.now(UTC))
        rows = [(self.copy_id, file.path, file.size, file.modified, level, now) for file in arrived]
        if rows:
            with self.database.transaction([(_ARRIVE, rows)]) as db:
                require_lease(db, self.lease)

    def _pages(
        self, values: dict[str, Any], found: tuple[int, int]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Spans of paths with a page of files in each; none if others are known than found."""
        with self.database.looking() as db:
            if tuple(run_sql(db, _COUNT, values).one()) != found:
                return
        after = b""
        while True:
            with self.database.looking() as db:
                page = {**values, "after": after, "skip": _TAKEN - 1}
                last = run_sql(db, _LAST_OF_PAGE, page).scalar()
            if last is None:  # the page is not full
                yield after, _PAST_ALL
                return
            yield after, bytes(last)
            after = bytes(last)

    def unproven(self, run: int | None = None) -> Selection:
        """The files that are at the facility, too, and not proven by its digest.

        With a `run`, what was not proven in it does not count. A number tells that, and no time: a
        clock that was wrong once would hide files from every later verification.
        """
        weak = or_(
            held.c.level.is_(None),
            held.c.level != Level.SOURCE,
            held.c.damage.is_not(None),
        )
        if run is not None:
            weak = or_(weak, held.c.run.is_distinct_from(run))
        return self._select([weak, held.c.damage.is_distinct_from(_EDITED)], listed=True)

    def different(self, *, listed: bool = False) -> Selection:
        """The files that are known to differ from the facility's; `listed`: that it has still."""
        return self._select([held.c.damage == Damage.DIFFERENT.value], listed=listed)

    def digested(self) -> Selection:
        """The files whose digest is known."""
        return self._select([held.c.sha256.is_not(None)])

    def undigested(self) -> Selection:
        """The files whose digest is not known, and in which nothing was found wrong."""
        return self._select([held.c.sha256.is_(None), held.c.damage.is_(None)])

    def everything(self) -> Selection:
        """All files."""
        return self._select([])

    def lose(self, listed: Iterable[Entry]) -> None:
        """Files are not at home as they were listed: nothing is proven of the copy.

        Those that it held are missing, so that it is not complete until they are held again. That
        one was different stays known, until it is proven that it is not.
        """
        rows = [(_MISSING, self.copy_id, file.path, file.size, file.modified) for file in listed]
        if not rows:
            return
        values: dict[str, Any] = {"level": None, "verified": None}
        with self._writing() as db:
            if run_sql(db, _LOSE, rows).rowcount:
                values |= _INCOMPLETE
                # A copy that never was complete is not in doubt now.
                values["doubted"] = or_(copies.c.doubted, copies.c.completed.is_not(None))
            db.execute(update(copies).where(copies.c.id == self.copy_id).values(values))

    def edit(self, edited: Iterable[Entry], unedited: Iterable[Entry]) -> None:
        """People changed files at home; others, once changed, are as they were again."""
        changed = [(_EDITED, self.copy_id, file.path, file.size, file.modified) for file in edited]
        as_before = [(self.copy_id, file.path, file.size, file.modified) for file in unedited]
        self._update(_DAMAGE, changed)
        self._update(_AS_IT_WAS, as_before)

    def differ(self, found: Iterable[CopyFile]) -> None:
        """Files differ from the facility's: the copy is not complete, until that is repaired."""
        rows = [(Damage.DIFFERENT.value, *self._key(file)) for file in found]
        if not rows:
            return
        with self._writing() as db:
            run_sql(db, _DAMAGE, rows)
            sum_up(db, self.copy_id, datetime.now(UTC))
            db.execute(update(copies).where(copies.c.id == self.copy_id).values(_INCOMPLETE))

    def forget_vanished(self) -> None:
        """What the facility no longer has, or has in another state, cannot differ from it.

        Such files are damaged all the same.
        """
        with self.database.transaction() as db:
            if db.scalar(select(copies.c.doubted).where(copies.c.id == self.copy_id)):
                run_sql(db, _VANISHED, (self.copy_id, self.experiment_id))

    def prove(
        self, proven: Iterable[tuple[CopyFile, bytes | None]], run: int | None = None
    ) -> None:
        """Files are the facility's, by its digest; with the SHA-256 where it was computed.

        `run`: the verification in which all files are compared; None: it is no such.
        """
        now = _seconds(datetime.now(UTC))
        level = int(Level.SOURCE)
        rows = [(level, now, sha256, run, *self._key(file)) for file, sha256 in proven]
        self._update(_PROVE, rows)

    def digest(self, digests: Iterable[tuple[CopyFile, bytes]]) -> None:
        """Store the SHA-256 of files."""
        self._update(_DIGEST, [(sha256, *self._key(file)) for file, sha256 in digests])

    def note_times(self, times: Iterable[tuple[CopyFile, int]]) -> None:
        """Store the times at home of files whose own time the file system there cannot hold."""
        self._update(_AT_HOME, [(at_home, *self._key(file)) for file, at_home in times])

    def mark(self, found: Iterable[tuple[CopyFile, Damage | None]]) -> None:
        """Something was found wrong with files, or, where it is None, nothing is any more."""
        self._update(_DAMAGE, [(damage, *self._key(file)) for file, damage in found])

    def sum_up(self, when: datetime) -> Level | None:
        """Store with the copy the weakest level of its files, which is returned, and since when.

        Who has claimed the copy alone changes them, so that others may write while they are read.
        """
        with self.database.looking() as db:
            level, values = _summed(db, self.copy_id, when)
        with self._writing() as db:
            db.execute(update(copies).where(copies.c.id == self.copy_id).values(values))
        return level

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction of who has the lease, where one is needed."""
        with self.database.transaction() as db:
            require_lease(db, self.lease)
            yield db

    def _key(self, file: CopyFile) -> tuple[int, bytes, int, int]:
        return self.copy_id, file.path, file.size, file.modified

    def _listed(self) -> ColumnElement[bool]:
        """A file that the facility has just as the copy does."""
        seen = () if self.listing is None else (files.c.seen >= self.listing,)
        return and_(
            *seen,
            files.c.experiment_id == self.experiment_id,
            files.c.path == held.c.path,
            files.c.size == held.c.size,
            files.c.modified == held.c.modified,
        )

    def _select(self, wanted: list[ColumnElement[bool]], *, listed: bool = False) -> Selection:
        rows = held.join(files, self._listed()) if listed else held
        mine = held.c.copy_id == self.copy_id
        return Selection(self.database, rows, and_(mine, *wanted))

    def _update(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            with self._writing() as db:
                run_sql(db, statement, rows)


def sum_up(db: Connection, copy_id: int, when: datetime) -> Level | None:
    """Store with a copy the weakest level of its files, and that it was established then.

    None, and so stored, where nothing is proven of some file, a person changed one, no file is
    known, or the facility was seen to have one that the copy does not hold.
    """
    level, values = _summed(db, copy_id, when)
    db.execute(update(copies).where(copies.c.id == copy_id).values(values))
    return level


def _summed(db: Connection, copy_id: int, when: datetime) -> tuple[Level | None, dict[str, object]]:
    """The weakest level of a copy's files, and what is stored with it."""
    query = select(
        func.min(held.c.level).label("weakest"),
        func.count().label("all"),
        func.count().filter(held.c.level.between(Level.SIZE, Level.SOURCE)).label("levels"),
        func.count(held.c.damage).label("damaged"),
        func.count().filter(held.c.damage == _EDITED).label("edited"),
        func.count().filter(held.c.damage == _MISSING).label("missing"),
    ).where(held.c.copy_id == copy_id)
    row = db.execute(query).one()
    level = row.weakest if row.levels == row.all and not row.damaged else None
    if level is not None and run_sql(db, _LACKS, (copy_id,)).scalar_one():
        level = None
    return level, {
        "level": level,
        "verified": when,
        "damaged": row.damaged - row.edited,
        "missing": row.missing,
        "edited": row.edited,
    }


def _seconds(when: datetime) -> int:
    return int(when.timestamp())
