"""Notes of experiments that are due, made where nothing is noted of them yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from asynchy.catalogue.schema import due
from asynchy.catalogue.statements import upsert
from asynchy.model.experiment import Experiment


def note_first(
    db: Connection, experiments: Iterable[Experiment], reason: str, now: datetime
) -> None:
    """Note that experiments are due, so that they stay known; an older note stays."""
    for experiment in experiments:
        new = upsert(due).values(
            beamline=experiment.beamline,
            epn=experiment.epn.text,
            project="",
            since=now,
            latest=now,
            reason=reason,
        )
        db.execute(new.on_conflict_do_nothing())
