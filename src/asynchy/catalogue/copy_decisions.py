"""What people decide about copies that are not where they should be, and about experiments.

And what a rebuild found at home of an experiment that is no longer at the facility.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select, update

from asynchy.catalogue.copy_files import sum_up
from asynchy.catalogue.copy_rows import find_copy, require_free
from asynchy.catalogue.database import Database
from asynchy.catalogue.events import events_of, note_event
from asynchy.catalogue.experiments import remember
from asynchy.catalogue.schema import copies, due, experiments, held, held_others
from asynchy.catalogue.statements import upsert
from asynchy.errors import DestinationTaken
from asynchy.model.copy_record import CopyRecord
from asynchy.model.event import Event, EventKind
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Level


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
                self._release(db, int(db.execute(experiment).scalar_one()), reason, now)

    def release(self, experiment: Experiment, reason: str, now: datetime) -> None:
        """An experiment need not come home; a later visit makes it due again."""
        with self._database.transaction() as db:
            self._release(db, remember(db, experiment, "", now), reason, now)

    @staticmethod
    def _release(db: Connection, experiment_id: int, reason: str, now: datetime) -> None:
        values = {"released": now, "release_reason": reason}
        db.execute(update(experiments).where(experiments.c.id == experiment_id).values(values))
        note_event(db, experiment_id, EventKind.RELEASED, reason, now)

    def take_back(self, experiment: Experiment, reason: str, now: datetime) -> None:
        """An experiment that was released must come home after all; the release stays known."""
        with self._database.transaction() as db:
            found = remember(db, experiment, "", now)
            self._take_back(db, found, reason, now)

    @staticmethod
    def _take_back(db: Connection, experiment_id: int, reason: str, now: datetime) -> None:
        mine = experiments.c.id == experiment_id
        released = db.scalar(select(experiments.c.released).where(mine))
        if released is not None:
            values = {"released": None, "release_reason": None}
            db.execute(update(experiments).where(mine).values(values))
            note_event(db, experiment_id, EventKind.TAKEN_BACK, reason, now)

    def refetch(
        self,
        record: CopyRecord,
        now: datetime,
        *,
        forget_reason: str | None = None,
    ) -> None:
        """A copy is to be fetched again: nothing of it is complete, or known to be at home.

        `forget_reason`: why its place was given up for another one; None: it is fetched to there.
        """
        with self._database.transaction() as db:
            forgotten = None if forget_reason is None else now
            self._reset(db, record.id, forgotten=forgotten, forget_reason=forget_reason)
            experiment = select(copies.c.experiment_id).where(copies.c.id == record.id)
            self._take_back(
                db, int(db.execute(experiment).scalar_one()), "to be fetched again", now
            )

    def move(
        self, record: CopyRecord, destination: Path, project_folder: Path, now: datetime
    ) -> None:
        """A copy is at another place from now on, where its files have their size and time.

        What was proven of their bytes was proven at the old place: files count as compared by size
        and time alone, until they are verified where they are now.

        Raises:
            DestinationTaken: another experiment has its copy there.
        """
        moved = replace(record.copy, destination=destination, project_folder=project_folder)
        with self._database.transaction() as db:
            experiment_id = db.scalar(
                select(copies.c.experiment_id).where(copies.c.id == record.id)
            )
            try:
                require_free(db, moved, int(experiment_id or 0))
            except DestinationTaken as error:
                hint = f"name the folder that has the files of {record.copy.epn}, and no others"
                raise DestinationTaken(error.message, hint=hint) from None
            other = db.execute(find_copy(moved)).one_or_none()
            if other is not None and other.id != record.id:
                known = "a forgotten copy" if other.forgotten is not None else "a copy"
                raise DestinationTaken(
                    f"the catalogue has {known} of {record.copy.epn} in {destination} already",
                    hint="its history is kept under that name; move the files to another folder",
                )
            values = {"destination": str(destination), "project_folder": str(project_folder)}
            db.execute(update(copies).where(copies.c.id == record.id).values(values))
            mine = (held.c.copy_id == record.id, held.c.level > Level.SIZE)
            db.execute(update(held).where(*mine).values(level=Level.SIZE, run=None))
            sum_up(db, record.id, now)

    def note_gone(
        self, experiment: Experiment, source: str, project: str, reason: str, now: datetime
    ) -> None:
        """An experiment is at home, and no longer at the facility; the reason is noted."""
        note = {"project": project, "since": now, "latest": now, "reason": reason}
        row = upsert(due).values(beamline=experiment.beamline, epn=experiment.epn.text, **note)
        del note["since"]
        with self._database.transaction() as db:
            found = remember(db, experiment, source, now)
            gone = update(experiments).where(experiments.c.id == found)
            db.execute(gone.where(experiments.c.vanished.is_(None)).values(vanished=now))
            db.execute(row.on_conflict_do_update(index_elements=["beamline", "epn"], set_=note))

    def events_of(self, epn: str) -> list[Event]:
        """What became of the experiments of an EPN, in order."""
        with self._database.transaction() as db:
            return events_of(db, epn)

    @staticmethod
    def _reset(db: Connection, copy_id: int, **values: Any) -> None:
        nothing = {
            "completed": None, "completed_listing": None, "fingerprint": None, "level": None,
            "verified": None, "damaged": 0, "doubted": False, "losses": None,
            "missing": 0, "edited": 0, "lost_links": 0,
        }  # fmt: skip
        db.execute(update(copies).where(copies.c.id == copy_id).values(**nothing, **values))
        for table in (held, held_others):
            db.execute(delete(table).where(table.c.copy_id == copy_id))
