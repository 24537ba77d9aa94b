"""What was done for copies in a span of time: transfers, verifications and audits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, exists, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.row_mapping import attempt_of, check_of, experiment_of
from asynchy.catalogue.schema import attempts, checks, copies, experiments
from asynchy.catalogue.statements import names_epn
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Experiment
from asynchy.model.history import PastAttempt, PastCheck
from asynchy.model.verification import Check


class History:
    """What was done. All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attempts(self, since: datetime, until: datetime) -> list[PastAttempt]:
        """The attempts that ended in a span, the oldest first."""
        earlier = attempts.alias()
        again = exists().where(
            earlier.c.copy_id == attempts.c.copy_id,
            earlier.c.id < attempts.c.id,
            earlier.c.verdict == Verdict.COMPLETE,
        )
        query = _with_copy(select(attempts, again.label("again")).join_from(attempts, copies))
        span = and_(attempts.c.ended >= since, attempts.c.ended < until)
        with self._database.looking() as db:
            return [
                PastAttempt(*_copy_of(row), attempt_of(row), bool(row.again))
                for row in db.execute(query.where(span).order_by(attempts.c.id))
            ]

    def checks(self, since: datetime, until: datetime) -> list[PastCheck]:
        """The verifications and audits that ended in a span, the oldest first."""
        query = _with_copy(select(checks).join_from(checks, copies))
        span = and_(checks.c.ended >= since, checks.c.ended < until)
        with self._database.looking() as db:
            return [
                PastCheck(*_copy_of(row), check_of(row))
                for row in db.execute(query.where(span).order_by(checks.c.id))
            ]

    def attempts_of(self, epn: str) -> list[tuple[str, Attempt]]:
        """Every attempt for an EPN with its destination, the oldest first."""
        mine = _with_copy(select(attempts).join_from(attempts, copies))
        query = mine.where(experiments.c.epn == epn).order_by(attempts.c.id)
        with self._database.transaction() as db:
            return [(row.destination, attempt_of(row)) for row in db.execute(query)]

    def checks_of(self, epn: str) -> list[tuple[str, Check]]:
        """Every check of an EPN's copies with the copy's destination, the oldest first."""
        mine = _with_copy(select(checks).join_from(checks, copies))
        query = mine.where(experiments.c.epn == epn).order_by(checks.c.id)
        with self._database.transaction() as db:
            return [(row.destination, check_of(row)) for row in db.execute(query)]


def _with_copy(query: Select[Any]) -> Select[Any]:
    columns = (experiments.c.beamline, experiments.c.epn, copies.c.project, copies.c.destination)
    joined = query.join(experiments, experiments.c.id == copies.c.experiment_id)
    return joined.add_columns(*columns).where(names_epn(experiments.c.epn))


def _copy_of(row: Row[Any]) -> tuple[Experiment, str, str]:
    return experiment_of(row.beamline, row.epn), row.project, row.destination
