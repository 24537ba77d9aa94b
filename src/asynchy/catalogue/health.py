"""What the latest run of `asynchy doctor` found, and when the latest complete cycle ended."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import state
from asynchy.catalogue.state_markers import put_state
from asynchy.model.diagnostic_result import DiagnosticResult, DoctorRun

_DOCTOR = "doctor"
_CYCLE = "complete-cycle"


class Health:
    """All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_doctor(self, run: DoctorRun) -> None:
        """Store what a run of the doctor found, in place of the one before."""
        told = {**asdict(run), "at": run.at.isoformat()}
        self._put(_DOCTOR, json.dumps(told))

    def doctor(self) -> DoctorRun | None:
        """What the latest run of the doctor found; None: it never ran, or never could store it."""
        told = self._value(_DOCTOR)
        if told is None:
            return None
        found = json.loads(told)
        results = tuple(DiagnosticResult(**one) for one in found["results"])
        return DoctorRun(datetime.fromisoformat(found["at"]), found["host"], results)

    def note_complete_cycle(self, when: datetime) -> None:
        """A cycle has ended in which portal and facility told all that they were asked."""
        self._put(_CYCLE, when.isoformat())

    def complete_cycle(self) -> datetime | None:
        """When the latest such cycle ended; None: there was none."""
        told = self._value(_CYCLE)
        return None if told is None else datetime.fromisoformat(told)

    def _put(self, name: str, value: str) -> None:
        with self._database.transaction() as db:
            put_state(db, name, value)

    def _value(self, name: str) -> str | None:
        with self._database.looking() as db:
            return db.scalar(select(state.c.value).where(state.c.name == name))
