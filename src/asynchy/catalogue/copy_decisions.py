"""What people decide about copies that are not where they should be, and about experiments."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select, update

from asynchy.catalogue.copy_rows import find_copy, require_free
from asynchy.catalogue.database import Database
from asynchy.catalogue.experiments import remember
from asynchy.catalogue.schema import copies, experiments, held
from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.experiment import Experiment
from asynchy.errors import DestinationTaken


class CopyDecisions:
    """Stores decisions. All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, record: CopyRecord, reason: str, now: datetime) -> None:
        """A copy need not be at its place any more, and its experiment need not come home.

        Its attempts and checks stay. A later visit makes the experiment due again.
        """
        with self._database.transaction() as db:
            self._reset(db, record.id, forgotten=now, forget_reason=reason)
            experiment = select(copies.c.experiment_id).where(copies.c.id == record.id)
            others = select(copies.c.id).where(
                copies.c.experiment_id == experiment.scalar_subquery(),
                copies.c.completed.is_not(None),
            )
            if db.execute(others).first() is None:
                mine = experiments.c.id == experiment.scalar_subquery()
                values = {"released": now, "release_reason": reason}
                db.execute(update(experiments).where(mine).values(values))

    def release(self, experiment: Experiment, reason: str, now: datetime) -> None:
        """An experiment need not come home; a later visit makes it due again."""
        with self._database.transaction() as db:
            found = remember(db, experiment, "", now)
            values = {"released": now, "release_reason": reason}
            db.execute(update(experiments).where(experiments.c.id == found).values(values))

    def refetch(self, record: CopyRecord) -> None:
        """A copy is to be fetched again: nothing of it is complete, or known to be at home."""
        with self._database.transaction() as db:
            self._reset(db, record.id)
            experiment = select(copies.c.experiment_id).where(copies.c.id == record.id)
            mine = experiments.c.id == experiment.scalar_subquery()
            db.execute(update(experiments).where(mine).values(released=None, release_reason=None))

    def move(self, record: CopyRecord, destination: Path, project_folder: Path) -> None:
        """A copy is at another place from now on; what is known of its files stays.

        Raises:
            DestinationTaken: another experiment has its copy there.
        """
        moved = replace(record.copy, destination=destination, project_folder=project_folder)
        with self._database.transaction() as db:
            experiment_id = db.scalar(
                select(copies.c.experiment_id).where(copies.c.id == record.id)
            )
            require_free(db, moved, int(experiment_id or 0))
            other = db.execute(find_copy(moved)).one_or_none()
            if other is not None and other.id != record.id:
                known = "a forgotten copy" if other.forgotten is not None else "a copy"
                raise DestinationTaken(
                    f"the catalogue has {known} of {record.copy.epn} in {destination} already",
                    hint="its history is kept under that name; move the files to another folder",
                )
            values = {"destination": str(destination), "project_folder": str(project_folder)}
            db.execute(update(copies).where(copies.c.id == record.id).values(values))

    @staticmethod
    def _reset(db: Connection, copy_id: int, **values: Any) -> None:
        nothing = {
            "completed": None, "completed_listing": None, "fingerprint": None, "level": None,
            "verified": None, "damaged": 0, "doubted": False, "losses": None,
            "missing": 0, "edited": 0,
        }  # fmt: skip
        db.execute(update(copies).where(copies.c.id == copy_id).values(**nothing, **values))
        db.execute(delete(held).where(held.c.copy_id == copy_id))
