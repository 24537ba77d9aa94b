"""Whether the service is paused."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import delete, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import state
from asynchy.catalogue.state_markers import put_state
from asynchy.model.pause import Pause

_NAME = "paused"


class Pauses:
    """The pause of the service. All methods raise `CatalogueError` if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, pause: Pause) -> None:
        """Have the service pause; it takes the place of a pause that is in force."""
        until = pause.until.isoformat() if pause.until else None
        told = {"since": pause.since.isoformat(), "until": until, "reason": pause.reason}
        with self._database.transaction() as db:
            put_state(db, _NAME, json.dumps(told))

    def end(self) -> None:
        """Have the service go on."""
        with self._database.transaction() as db:
            db.execute(delete(state).where(state.c.name == _NAME))

    def current(self, now: datetime) -> Pause | None:
        """The pause that is in force; None: there is none."""
        with self._database.looking() as db:
            told = db.scalar(select(state.c.value).where(state.c.name == _NAME))
        if told is None:
            return None
        found = json.loads(told)
        until = datetime.fromisoformat(found["until"]) if found["until"] else None
        if until is not None and until <= now:
            return None
        return Pause(datetime.fromisoformat(found["since"]), until, found["reason"])
