"""The rows of copies: found, and made where they are new; a place belongs to one experiment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from asynchy.catalogue.experiments import remember
from asynchy.catalogue.schema import copies, experiments
from asynchy.domain.experiment import Copy
from asynchy.errors import DestinationTaken


def find_copy(copy: Copy) -> Any:
    """The query for the row of a copy."""
    return (
        select(copies)
        .join(experiments, experiments.c.id == copies.c.experiment_id)
        .where(
            experiments.c.beamline == copy.experiment.beamline,
            experiments.c.epn == copy.epn.text,
            copies.c.destination == str(copy.destination),
        )
    )


def remember_copy(db: Connection, copy: Copy, now: datetime) -> int:
    """The id of the copy's row; the experiment and the copy are stored where they are new.

    Raises:
        DestinationTaken: another experiment has its copy there.
    """
    experiment_id = remember(db, copy.experiment, copy.source, now)
    require_free(db, copy, experiment_id)
    found = db.execute(find_copy(copy)).one_or_none()
    folder = str(copy.project_folder)
    if found is not None:
        values = {"project_folder": folder, "forgotten": None, "forget_reason": None}
        db.execute(update(copies).where(copies.c.id == found.id).values(values))
        return int(found.id)
    new = insert(copies).values(
        experiment_id=experiment_id,
        project=copy.project,
        destination=str(copy.destination),
        project_folder=folder,
    )
    return int(db.execute(new.returning(copies.c.id)).scalar_one())


def require_free(db: Connection, copy: Copy, experiment_id: int) -> None:
    """Refuse a place that belongs to another experiment.

    Raises:
        DestinationTaken: it does.
    """
    query = (
        select(experiments.c.epn, experiments.c.beamline)
        .join(copies, copies.c.experiment_id == experiments.c.id)
        .where(
            copies.c.destination == str(copy.destination),
            copies.c.forgotten.is_(None),
            experiments.c.id != experiment_id,
        )
    )
    other = db.execute(query).one_or_none()
    if other is not None:
        whose = f"{other.epn} ({other.beamline})" if other.beamline else other.epn
        raise DestinationTaken(
            f"{copy.destination} belongs to {whose}",
            hint="put {beamline} into destination-path, or use `asynchy sync --layout`",
        )
