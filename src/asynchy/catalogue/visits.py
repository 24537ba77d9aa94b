"""Visits that have ended, kept for receipts: the portal forgets, or is not there to be asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.sqlite import insert as upsert

from asynchy.catalogue.schema import visits
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.person import Person
from asynchy.domain.visit import EquipmentVisits, Visit


def keep(db: Connection, told: Iterable[EquipmentVisits]) -> None:
    """Store visits; what is told of one now takes the place of what was told before."""
    for answer in told:
        for visit in answer.visits:
            values = {
                "epn": visit.epn.text,
                "beamline": answer.beamline,
                "start": visit.start,
                "end": visit.end,
                "title": visit.title,
                "principal": asdict(visit.principal) if visit.principal else None,
                "scientists": [asdict(person) for person in visit.scientists],
            }
            new = upsert(visits).values(equipment=answer.equipment, visit=visit.id, **values)
            known = ["equipment", "visit"]
            db.execute(new.on_conflict_do_update(index_elements=known, set_=values))


def kept_of(db: Connection, experiment: Experiment) -> list[Visit]:
    """The visits of an experiment, the earliest first; on any beamline, where its is not known."""
    query = select(visits).where(visits.c.epn == experiment.epn.text)
    if experiment.beamline:
        query = query.where(visits.c.beamline == experiment.beamline)
    return [_visit(row) for row in db.execute(query.order_by(visits.c.start, visits.c.visit))]


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
