"""What became of experiments: written with the change itself, only ever added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from asynchy.catalogue.row_mapping import experiment_of
from asynchy.catalogue.schema import events, experiments
from asynchy.model.event import Event, EventKind


def note_event(
    db: Connection, experiment_id: int, kind: EventKind, detail: str, now: datetime
) -> None:
    """Store that something became of an experiment."""
    new = insert(events).values(experiment_id=experiment_id, at=now, what=kind.value, detail=detail)
    db.execute(new)


def events_of(db: Connection, epn: str) -> list[Event]:
    """What became of the experiments of an EPN, in order."""
    query = (
        select(experiments.c.beamline, experiments.c.epn, events.c.at, events.c.what)
        .add_columns(events.c.detail)
        .join(experiments, experiments.c.id == events.c.experiment_id)
        .where(experiments.c.epn == epn)
        .order_by(events.c.id)
    )
    return [
        Event(experiment_of(row.beamline, row.epn), row.at, EventKind(row.what), row.detail)
        for row in db.execute(query)
    ]
