"""Copies that were completed, and of which nobody was told yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from asynchy.catalogue.database import Database
from asynchy.catalogue.outbox import add
from asynchy.catalogue.readable_copies import ReadableCopy
from asynchy.catalogue.row_mapping import experiment_of
from asynchy.catalogue.schema import attempts, claims, copies, experiments, held
from asynchy.catalogue.statements import names_epn
from asynchy.model.attempt import Verdict
from asynchy.model.news import Arrival, Message

_SEEN = func.coalesce(copies.c.announced, 0)


class Arrivals:
    """Finds them. All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def new(self) -> tuple[list[Arrival], dict[int, tuple[int, int]]]:
        """What was completed, and the copies with attempts that nobody need be told of.

        Those are by id the number of the attempt up to which that was looked at before, and now.
        Copies that somebody works on are left for later: their manifest and receipt may be made.
        """
        latest = (
            select(attempts.c.copy_id, func.max(attempts.c.id).label("latest"))
            .group_by(attempts.c.copy_id)
            .subquery()
        )
        query = (
            select(copies, experiments.c.beamline, experiments.c.epn, experiments.c.source)
            .add_columns(latest.c.latest)
            .join(latest, latest.c.copy_id == copies.c.id)
            .join(experiments, experiments.c.id == copies.c.experiment_id)
            .where(latest.c.latest > _SEEN, copies.c.id.not_in(select(claims.c.copy_id)))
            .where(names_epn(experiments.c.epn), ReadableCopy())
            .order_by(latest.c.latest)
        )
        found: list[Arrival] = []
        rest: dict[int, tuple[int, int]] = {}
        with self._database.looking() as db:
            for row in db.execute(query).all():
                arrival = _arrival(db, row)
                if arrival is not None:
                    found.append(arrival)
                else:
                    rest[row.id] = (row.announced or 0, row.latest)
        return found, rest

    def announce(self, arrival: Arrival, messages: Sequence[Message]) -> bool:
        """Store the messages about a copy; False if another process has done it meanwhile."""
        with self._database.transaction() as db:
            if not _pass_over(db, arrival.copy_id, arrival.after, arrival.attempt):
                return False
            add(db, messages)
        return True

    def pass_over(self, seen: dict[int, tuple[int, int]]) -> None:
        """Note that nobody need be told of the attempts for some copies."""
        if seen:
            with self._database.transaction() as db:
                for copy_id, (before, now) in seen.items():
                    _pass_over(db, copy_id, before, now)

    def digests(self, copy_id: int) -> tuple[int, int]:
        """How many files a copy holds, and of how many the SHA-256 is known."""
        query = select(func.count(), func.count(held.c.sha256)).where(held.c.copy_id == copy_id)
        with self._database.looking() as db:
            files, known = db.execute(query).one()
        return int(files), int(known)


def _pass_over(db: Connection, copy_id: int, before: int, now: int) -> bool:
    mine = update(copies).where(copies.c.id == copy_id, _SEEN.in_([before]))
    return db.execute(mine.values(announced=now)).rowcount == 1


def _arrival(db: Connection, row: Row[Any]) -> Arrival | None:
    """What came of a copy since it was last looked at; None: nothing that anybody need know.

    A copy that was at home and was only compared has nothing new, unless it never was announced.
    """
    before = row.announced or 0
    mine = attempts.c.copy_id == row.id
    since = db.execute(
        select(attempts).where(mine, attempts.c.id > before).order_by(attempts.c.id)
    ).all()
    done = [one for one in since if one.verdict == Verdict.COMPLETE]
    if not done or row.completed is None or row.doubted or not any(one.engine for one in done):
        return None
    complete = select(attempts.c.id).where(
        mine, attempts.c.id <= before, attempts.c.verdict == Verdict.COMPLETE
    )
    again = db.execute(complete.limit(1)).first() is not None
    # What was moved before it is what a copy lacked; null: it is not known how much that was.
    moved = any(one.engine and (one.bytes != 0 or one.files != 0) for one in since)
    if again and not moved:
        return None
    return Arrival(
        copy_id=row.id,
        attempt=row.latest,
        after=before,
        experiment=experiment_of(row.beamline, row.epn),
        project=row.project,
        source=row.source,
        destination=Path(row.destination),
        completed=row.completed,
        files=row.files,
        bytes=row.bytes,
        level=row.level,
        again=again,
    )
