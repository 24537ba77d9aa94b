"""What the dashboard shows of one experiment and of the days behind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from asynchy.catalogue import visits as visit_rows
from asynchy.catalogue.database import Database
from asynchy.catalogue.row_mapping import attempt_of, experiment_of
from asynchy.catalogue.schema import (
    attempts,
    checks,
    copies,
    experiments,
    portal_spans,
    sightings,
    visits,
)
from asynchy.catalogue.statements import QUARTER, names_epn, quarter_of, seconds_between
from asynchy.model.attempt import Verdict
from asynchy.model.experiment import Experiment
from asynchy.model.history import PastAttempt
from asynchy.model.visit import Visit

_GOOD = (Verdict.COMPLETE.value, Verdict.TRANSFERRED.value)


@dataclass(frozen=True)
class DayTotals:
    """What attempts of one local day came to."""

    day: str
    """Such as `2026-11-24`."""
    bytes: int
    files: int
    completed: int
    """Attempts that made a copy complete."""
    failed: int
    seconds: int
    """How long attempts ran, added up."""


class WebReads:
    """All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def titles(self) -> dict[str, str]:
        """By EPN the title of its latest visit, where the portal told one."""
        query = (
            select(visits.c.epn, visits.c.title)
            .where(visits.c.title != "", visits.c.epn != "")
            .order_by(visits.c.end)
        )
        with self._database.looking() as db:
            return {row.epn: row.title for row in db.execute(query)}

    def visits_of(self, experiment: Experiment) -> list[Visit]:
        """All visits of an experiment that are known, the earliest first."""
        with self._database.looking() as db:
            return visit_rows.all_of(db, experiment)

    def visits_with_people(self, proposals: Collection[str]) -> list[Visit]:
        """The visits of some proposals, with all who took part."""
        with self._database.looking() as db:
            return visit_rows.of_proposals(db, proposals)

    def days(self, since: datetime) -> list[DayTotals]:
        """What attempts came to on each day since a time, the earliest first."""
        quarter = quarter_of(attempts.c.ended)
        good = attempts.c.verdict.in_(_GOOD)
        taken = seconds_between(attempts.c.started, attempts.c.ended)
        query = (
            select(
                quarter,
                func.coalesce(func.sum(attempts.c.bytes), 0),
                func.coalesce(func.sum(attempts.c.files), 0),
                func.coalesce(func.sum(case((attempts.c.verdict == Verdict.COMPLETE.value, 1))), 0),
                func.coalesce(func.sum(case((~good, 1))), 0),
                func.coalesce(func.sum(taken), 0),
            )
            .where(attempts.c.ended >= since)
            .group_by(quarter)
            .order_by(quarter)
        )
        days: dict[str, list[float]] = {}
        with self._database.looking() as db:
            for number, *values in db.execute(query):
                day = datetime.fromtimestamp(number * QUARTER).astimezone().date().isoformat()
                days[day] = [sum(pair) for pair in zip(days.get(day, [0] * 5), values, strict=True)]
        return [DayTotals(day, *map(int, values)) for day, values in days.items()]

    def latest_attempts(
        self, number: int, *, failed_since: datetime | None = None
    ) -> list[PastAttempt]:
        """The latest attempts for any copy, or those that failed since a time, the latest first."""
        query = (
            select(attempts, copies.c.project, copies.c.destination)
            .add_columns(experiments.c.beamline, experiments.c.epn)
            .join(copies, copies.c.id == attempts.c.copy_id)
            .join(experiments, experiments.c.id == copies.c.experiment_id)
            .where(names_epn(experiments.c.epn))
            .order_by(attempts.c.id.desc())
            .limit(number)
        )
        if failed_since is not None:
            since = attempts.c.ended >= failed_since
            query = query.where(attempts.c.verdict.not_in(_GOOD), since)
        with self._database.looking() as db:
            return [
                PastAttempt(
                    experiment_of(row.beamline, row.epn), row.project, row.destination,
                    attempt_of(row), again=False,
                )
                for row in db.execute(query)
            ]  # fmt: skip

    def facility(self) -> dict[str, Any]:
        """How the facility was last asked: spans of the portal, walks, checks of copies."""
        walk = (
            select(sightings).where(sightings.c.kind == "walk").order_by(sightings.c.id.desc())
        ).limit(1)
        spans = select(portal_spans).order_by(portal_spans.c.equipment)
        seen = select(
            experiments.c.beamline,
            func.count(),
            func.max(experiments.c.last_seen),
            func.count(experiments.c.vanished),
        ).group_by(experiments.c.beamline)
        latest = select(checks.c.kind, func.max(checks.c.ended)).group_by(checks.c.kind)
        with self._database.looking() as db:
            last = db.execute(walk).one_or_none()
            return {
                "spans": [(row.equipment, row.since, row.until) for row in db.execute(spans)],
                "walk": None if last is None else (last.origin, last.started, last.ended),
                "beamlines": [tuple(row) for row in db.execute(seen)],
                "checks": {row[0]: row[1] for row in db.execute(latest)},
            }
