"""The visits that the portal told of, for reports and receipts: it forgets, or cannot be asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from asynchy.catalogue.schema import visits
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.person import Person
from asynchy.domain.visit import Beamtime, EquipmentVisits, Visit


def keep(db: Connection, told: Iterable[EquipmentVisits], now: datetime) -> None:
    """Store visits; what is told of one now takes the place of what was told before.

    One that was told of before, and is not where it should be, was called off.
    """
    for answer in told:
        for visit in answer.visits:
            _store(db, answer, visit, now)
        _forget(db, answer)


def all_of(db: Connection) -> dict[tuple[int, str], Beamtime]:
    """Every visit that is known, by equipment and id at the portal."""
    return {
        (row.equipment, row.visit): Beamtime(_visit(row), row.beamline)
        for row in db.execute(select(visits))
    }


def ended_of(db: Connection, experiment: Experiment, now: datetime) -> list[Visit]:
    """The visits of an experiment that have ended, the earliest first.

    On any beamline, where its is not known.
    """
    query = select(visits).where(visits.c.epn == experiment.epn.text, visits.c.end < now)
    if experiment.beamline:
        query = query.where(visits.c.beamline == experiment.beamline)
    return [_visit(row) for row in db.execute(query.order_by(visits.c.start, visits.c.visit))]


def _store(db: Connection, answer: EquipmentVisits, visit: Visit, now: datetime) -> None:
    values = {
        "epn": visit.epn.text,
        "beamline": answer.beamline,
        "start": visit.start,
        "end": visit.end,
        "title": visit.title,
        "principal": asdict(visit.principal) if visit.principal else None,
        "scientists": [asdict(person) for person in visit.scientists],
        "told": now,
    }
    new = upsert(visits).values(equipment=answer.equipment, visit=visit.id, **values)
    db.execute(new.on_conflict_do_update(index_elements=["equipment", "visit"], set_=values))


def _forget(db: Connection, answer: EquipmentVisits) -> None:
    """Forget the visits that should have been in an answer, where it is whole."""
    whole = answer.visits and not answer.unreadable and not answer.problem
    if not whole or answer.since is None or answer.until is None:
        return
    mine = visits.c.equipment == answer.equipment
    inside = and_(mine, visits.c.start >= answer.since, visits.c.end <= answer.until)
    known = set(db.scalars(select(visits.c.visit).where(inside)))
    for visit in known - {visit.id for visit in answer.visits}:
        db.execute(delete(visits).where(mine, visits.c.visit == visit))


def _visit(row: Row[Any]) -> Visit:
    return Visit(
        id=row.visit,
        epn=Epn(row.epn),
        start=row.start,
        end=row.end,
        title=row.title,
        principal=Person(**row.principal) if row.principal else None,
        scientists=tuple(Person(**person) for person in row.scientists),
    )
