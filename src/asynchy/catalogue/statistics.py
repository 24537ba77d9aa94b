"""How much the catalogue knows, in figures; from the totals that are kept of each experiment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Row, case, exists, func, or_, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import copies, experiments, frontier, sightings
from asynchy.catalogue.statements import year_of
from asynchy.model.catalogue_address import CatalogueAddress


@dataclass(frozen=True)
class ExperimentTotals:
    """The experiments of one beamline, or of one year, or all of them."""

    name: str
    experiments: int
    files: int
    bytes: int
    complete: int
    """Experiments of which a copy was found complete, here or by the original program."""


@dataclass(frozen=True)
class LastWalk:
    """The latest walk."""

    origin: str
    started: datetime
    ended: datetime | None
    """None: it was stopped, or goes on."""
    problems: int
    """Folders that it could not list."""


@dataclass(frozen=True)
class Statistics:
    """All of it."""

    total: ExperimentTotals
    vanished: int
    """Experiments that a walk no longer found at the facility."""
    beamlines: tuple[ExperimentTotals, ...]
    years: tuple[ExperimentTotals, ...]
    """By the time of an experiment's latest file."""
    last_walk: LastWalk | None
    database: int
    """Bytes of the catalogue itself."""


def statistics(catalogue: CatalogueAddress) -> Statistics | None:
    """The catalogue's figures; None if there is no catalogue.

    Raises:
        CatalogueError: it cannot be used.
    """
    if isinstance(catalogue, Path) and not catalogue.exists():
        return None
    year = func.coalesce(year_of(experiments.c.modified), "")
    database = Database.open_readonly(catalogue)
    with database.transaction() as db:
        (total,) = _shares(db, None)
        return Statistics(
            total=total,
            vanished=db.scalar(select(func.count(experiments.c.vanished))) or 0,
            beamlines=_shares(db, experiments.c.beamline),
            years=_shares(db, year),
            last_walk=_last_walk(db),
            database=database.size(),
        )


def _shares(db: Connection, by: ColumnElement[str] | None) -> tuple[ExperimentTotals, ...]:
    columns = experiments.c
    here = exists().where(copies.c.experiment_id == columns.id, copies.c.completed.is_not(None))
    complete = case((or_(columns.completed_elsewhere, here), 1), else_=0)
    query = select(
        func.count().label("experiments"),
        func.coalesce(func.sum(columns.files), 0).label("files"),
        func.coalesce(func.sum(columns.bytes), 0).label("bytes"),
        func.coalesce(func.sum(complete), 0).label("complete"),
    ).select_from(experiments)
    if by is not None:
        query = query.add_columns(by.label("share")).group_by("share").order_by("share")
    return tuple(_share(row) for row in db.execute(query))


def _share(row: Row[tuple[int, int, int, int]]) -> ExperimentTotals:
    return ExperimentTotals(
        getattr(row, "share", ""),
        row.experiments,
        int(row.files),
        int(row.bytes),
        int(row.complete),
    )


def _last_walk(db: Connection) -> LastWalk | None:
    query = select(sightings).where(sightings.c.kind == "walk").order_by(sightings.c.id.desc())
    row = db.execute(query.limit(1)).one_or_none()
    if row is None:
        return None
    problems = select(func.count()).select_from(frontier).where(frontier.c.problem.is_not(None))
    return LastWalk(row.origin, row.started, row.ended, db.scalar(problems) or 0)
