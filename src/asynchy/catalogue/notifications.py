"""What people were told, what waits to be told, and what there is to tell of our own work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import due, experiments, mails, reported, state
from asynchy.catalogue.state_markers import put_state
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.notification import DataAtFacility, NotificationHistory

_NOTES = "notes told"


@dataclass(frozen=True)
class PendingMail:
    """A mail that no mail server has taken yet."""

    created: datetime
    message: bytes
    epns: tuple[Epn, ...]
    """What it reports."""


class Notifications:
    """The catalogue's side of alerts.

    All methods raise `CatalogueError` where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def reported(self) -> dict[Epn, NotificationHistory]:
        """Every EPN that was reported."""
        with self._database.transaction() as db:
            return {
                Epn(row.epn): NotificationHistory(row.first, row.times)
                for row in db.execute(select(reported))
            }

    def waiting(self) -> dict[Epn, DataAtFacility]:
        """By EPN what is at the facility, where walks or imports have seen its files."""
        query = (
            select(
                experiments.c.epn,
                func.sum(experiments.c.files).label("files"),
                func.sum(experiments.c.bytes).label("bytes"),
            )
            .where(experiments.c.files.is_not(None), experiments.c.vanished.is_(None))
            .group_by(experiments.c.epn)
        )
        with self._database.transaction() as db:
            return {
                Epn(row.epn): DataAtFacility(int(row.files), int(row.bytes))
                for row in db.execute(query)
            }

    def pending(self) -> PendingMail | None:
        """The mail that waits, if one does."""
        with self._database.transaction() as db:
            row = db.execute(select(mails).order_by(mails.c.id.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        return PendingMail(row.created, row.message, tuple(map(Epn, row.epns.split())))

    def keep(self, mail: PendingMail) -> None:
        """Store a mail before it is handed over. It takes the place of one that waits.

        What that one said and still holds, the new one says again.
        """
        with self._database.transaction() as db:
            _keep(db, mail)

    def taken(self, mail: PendingMail, now: datetime, *, rest: PendingMail | None = None) -> None:
        """The mail server has taken a mail: what is in it counts as reported from now on.

        `rest` is the mail for the recipients that were refused for now, and waits in its place.
        """
        with self._database.transaction() as db:
            _keep(db, rest)
            for epn in mail.epns:
                new = upsert(reported).values(epn=epn.text, first=now, latest=now, times=1)
                changes = {"latest": now, "times": reported.c.times + 1}
                db.execute(new.on_conflict_do_update(index_elements=["epn"], set_=changes))

    def told_notes(self) -> frozenset[str]:
        """The notes that were in the latest mail."""
        with self._database.transaction() as db:
            found = db.scalar(select(state.c.value).where(state.c.name == _NOTES))
        return frozenset(json.loads(found)) if found else frozenset()

    def tell_notes(self, notes: Iterable[str]) -> None:
        """A mail with these notes was taken."""
        with self._database.transaction() as db:
            put_state(db, _NOTES, json.dumps(sorted(notes)))

    def note_told(self, told: Iterable[Experiment], reason: str, now: datetime) -> None:
        """Note that experiments were told of, so that they stay known; an older note stays."""
        with self._database.transaction() as db:
            for experiment in told:
                new = upsert(due).values(
                    beamline=experiment.beamline,
                    epn=experiment.epn.text,
                    project="",
                    since=now,
                    latest=now,
                    reason=reason,
                )
                db.execute(new.on_conflict_do_nothing())

    def note(
        self,
        undone: Mapping[Experiment, tuple[str, str]],
        done: Iterable[Experiment],
        now: datetime,
    ) -> None:
        """What a cycle has left undone, with the project and the reason; and what it has done.

        What it says nothing of stays: a visit that has left the range of days is no less due.
        """
        with self._database.transaction() as db:
            for experiment in done:
                mine = and_(due.c.beamline == experiment.beamline, due.c.epn == experiment.epn.text)
                db.execute(delete(due).where(mine))
            for experiment, (project, reason) in undone.items():
                new = upsert(due).values(
                    beamline=experiment.beamline,
                    epn=experiment.epn.text,
                    project=project,
                    since=now,
                    latest=now,
                    reason=reason,
                )
                changes = {
                    # A time in the future is of a wrong clock: no mail would name it until then.
                    "since": func.min(due.c.since, new.excluded.since),
                    "latest": now,
                    "reason": reason,
                    "project": project,
                }
                db.execute(
                    new.on_conflict_do_update(index_elements=["beamline", "epn"], set_=changes)
                )


def _keep(db: Connection, mail: PendingMail | None) -> None:
    """Have this mail wait, and no other; None: none."""
    db.execute(delete(mails))
    if mail is not None:
        db.execute(
            insert(mails).values(
                created=mail.created,
                message=mail.message,
                epns=" ".join(epn.text for epn in mail.epns),
            )
        )
