"""What is known of every experiment, at the facility and at home; and the portal's visits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.rows import living_of
from asynchy.catalogue.schema import (
    UtcDateTime,
    attempts,
    checks,
    claims,
    copies,
    experiments,
    files,
    held,
    sightings,
    visits,
)
from asynchy.catalogue.visits import all_of, keep
from asynchy.domain.attempt import Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.level import Level
from asynchy.domain.visit import Beamtime, EquipmentVisits
from asynchy.plan.reconcile import Proof
from asynchy.plan.standing import AtHome, Standing

_WAYS = {
    Level.SIZE: "size and time",
    Level.TRANSPORT: "rsync's checksum as it arrived",
}
"""How what no check has proven was proven."""


@dataclass(frozen=True)
class Looked:
    """When somebody last looked, so that people know how old all this is; None: never."""

    portal: datetime | None
    walk: datetime | None
    """When the latest walk ended."""


class Standings:
    """The catalogue's side of reports.

    All methods raise `CatalogueError` where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Standings:
        """For writing."""
        return cls(Database.open(path))

    @classmethod
    def peek(cls, path: Path) -> Standings:
        """For reading alone."""
        return cls(Database.peek(path))

    def hear(self, answers: Iterable[EquipmentVisits], now: datetime) -> None:
        """Store the visits that the portal told of.

        One that it told of before, and does not where it should, was called off.
        """
        with self._database.transaction() as db:
            keep(db, answers, now)

    def beamtimes(self) -> dict[tuple[int, str], Beamtime]:
        """Every visit that is known, by equipment and id at the portal."""
        with self._database.transaction() as db:
            return all_of(db)

    def seen(self) -> list[Standing]:
        """Every experiment that was ever seen at the facility, with its copies; without visits."""
        with self._database.transaction() as db:
            at_home = _copies(db)
            listed = _listed(db)
            rows = db.execute(select(experiments))
            return [_standing(row, at_home[row.id], listed) for row in rows]

    def looked(self) -> Looked:
        """When somebody last looked."""
        walks = select(func.max(sightings.c.ended)).where(sightings.c.kind == "walk")
        with self._database.transaction() as db:
            return Looked(db.scalar(select(func.max(visits.c.told))), db.scalar(walks))

    def proof(self, copy: AtHome, level: Level) -> Proof:
        """What is known of each file that the facility was last seen to have; reads all of them."""
        same = and_(
            held.c.copy_id == copy.id,
            held.c.path == files.c.path,
            held.c.size == files.c.size,
            held.c.modified == files.c.modified,
            held.c.level >= int(level),
            held.c.damage.is_(None),
        )
        of = select(copies.c.experiment_id).where(copies.c.id == copy.id).scalar_subquery()
        query = (
            select(
                func.count().label("files"),
                func.count(held.c.path).label("proven"),
                func.coalesce(func.sum(held.c.size), 0).label("bytes"),
                func.min(held.c.checked).label("first"),
                func.max(held.c.checked).label("last"),
                func.min(held.c.level).label("level"),
            )
            .select_from(files.outerjoin(held, same))
            .where(files.c.experiment_id == of)
        )
        with self._database.transaction() as db:
            row = db.execute(query).one()
            ways = _ways(db, copy.id, row.level)
        return Proof(
            unproven=row.files - row.proven,
            files=row.proven,
            bytes=int(row.bytes),
            ways=ways,
            first=_time(row.first),
            last=_time(row.last),
        )


def _copies(db: Connection) -> defaultdict[int, tuple[AtHome, ...]]:
    """By experiment its copies, in order of destination."""
    last = (
        select(attempts.c.copy_id, func.max(attempts.c.id).label("last"))
        .group_by(attempts.c.copy_id)
        .subquery()
    )
    query = (
        select(copies, attempts.c.verdict, attempts.c.reason, attempts.c.ended)
        .outerjoin(last, last.c.copy_id == copies.c.id)
        .outerjoin(attempts, attempts.c.id == last.c.last)
        .order_by(copies.c.destination)
    )
    standing = {row.copy_id: row for row in db.execute(select(claims))}
    found: defaultdict[int, tuple[AtHome, ...]] = defaultdict(tuple)
    for row in db.execute(query):
        found[row.experiment_id] += (_copy(row, standing.get(row.id)),)
    return found


def _copy(row: Row[Any], claim: Row[Any] | None) -> AtHome:
    settled = row.completed is not None and row.ended is not None and row.completed > row.ended
    tried = row.verdict is not None and not settled
    return AtHome(
        id=row.id,
        project=row.project,
        destination=row.destination,
        completed=row.completed,
        listed=row.completed_listing,
        doubted=row.doubted,
        level=row.level,
        damaged=row.damaged,
        files=row.files,
        bytes=row.bytes,
        verdict=Verdict(row.verdict) if tried else None,
        reason=row.reason if tried else None,
        claim=living_of(claim),
    )


def _listed(db: Connection) -> dict[str, datetime]:
    """By path at the facility when all of an experiment was last listed."""
    ended = func.max(func.coalesce(sightings.c.ended, sightings.c.started), type_=UtcDateTime)
    alone = (
        select(sightings.c.origin, ended)
        .where(sightings.c.kind == "listing", sightings.c.ended.is_not(None))
        .group_by(sightings.c.origin)
    )
    walked = (
        select(experiments.c.source, ended)
        .join(sightings, sightings.c.id == experiments.c.walk_id)
        .group_by(experiments.c.source)
    )
    found = dict(db.execute(alone).tuples().all())
    for source, when in db.execute(walked).tuples():
        found[source] = max(when, found.get(source, when))
    return found


def _standing(
    row: Row[Any], at_home: tuple[AtHome, ...], listed: Mapping[str, datetime]
) -> Standing:
    return Standing(
        experiment=Experiment(row.beamline, Epn(row.epn)),
        source=row.source,
        seen=True,
        listed=listed.get(row.source),
        files=row.files,
        bytes=row.bytes,
        modified=row.modified,
        changed=row.changed,
        vanished=row.vanished,
        completed_elsewhere=row.completed_elsewhere,
        copies=at_home,
    )


def _ways(db: Connection, copy_id: int, weakest: Level | None) -> tuple[str, ...]:
    """How the files of a copy were proven, in words."""
    if weakest is None:
        return ()
    if weakest is not Level.SOURCE:
        return (_WAYS[weakest],)
    query = select(checks.c.way).where(
        checks.c.copy_id == copy_id, checks.c.kind == "verify", checks.c.files > 0
    )
    return tuple(dict.fromkeys(db.scalars(query.order_by(checks.c.id))))


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
