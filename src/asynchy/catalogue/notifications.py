"""What people were told, what waits to be told, and what there is to tell of our own work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, and_, delete, func, select, update

from asynchy.catalogue.database import Database
from asynchy.catalogue.due_rows import note_first
from asynchy.catalogue.outbox import Outbox, add, remove, waiting_of
from asynchy.catalogue.schema import due, experiments, outbox, reported, state
from asynchy.catalogue.state_markers import put_state
from asynchy.catalogue.statements import lesser, names_epn, upsert
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.news import MAIL, Message, NewsKind, WaitingMessage, wait_after
from asynchy.model.notification import DataAtFacility, NotificationHistory

_NOTES = "notes told"


@dataclass(frozen=True)
class PendingMail:
    """A mail that no mail server has taken yet."""

    created: datetime
    message: bytes
    epns: tuple[Epn, ...]
    """What it reports."""
    notes: tuple[str, ...] | None = None
    """What it says besides; None: it is for recipients who were refused, and says nothing new."""
    number: int = 0
    """In the outbox; 0: it is not there yet."""
    channel: str = MAIL
    subject: str = ""
    """A newer mail of the same channel and subject takes the place of one that waits."""


class Notifications:
    """The catalogue's side of alerts.

    All methods raise `CatalogueError` where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._outbox = Outbox(database)

    def reported(self) -> dict[Epn, NotificationHistory]:
        """Every EPN that was reported."""
        with self._database.transaction() as db:
            return {
                Epn(row.epn): NotificationHistory(row.first, row.times)
                for row in db.execute(select(reported).where(names_epn(reported.c.epn)))
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
            .where(names_epn(experiments.c.epn))
            .group_by(experiments.c.epn)
        )
        with self._database.transaction() as db:
            return {
                Epn(row.epn): DataAtFacility(int(row.files), int(row.bytes))
                for row in db.execute(query)
            }

    def pending(self) -> PendingMail | None:
        """The mail of epnalert that waits, if one does."""
        query = select(outbox).where(outbox.c.channel == MAIL).order_by(outbox.c.id.desc())
        with self._database.transaction() as db:
            row = db.execute(query.limit(1)).one_or_none()
        return None if row is None else mail_of(waiting_of(row))

    def keep(self, mail: PendingMail) -> PendingMail:
        """Store a mail before it is handed over. It takes the place of one that waits.

        What that one said and still holds, the new one says again.
        """
        older = (outbox.c.channel == mail.channel, outbox.c.subject == mail.subject)
        with self._database.transaction() as db:
            db.execute(delete(outbox).where(*older))
            return replace(mail, number=_add(db, mail))

    def refused(self, mail: PendingMail, now: datetime, reason: str) -> None:
        """The mail server did not take a mail: it waits longer after each try."""
        waiting = [one for one in self._outbox.waiting(mail.channel) if one.id == mail.number]
        self._outbox.failed(waiting, now, reason)

    def taken(
        self,
        mail: PendingMail,
        now: datetime,
        *,
        rest: PendingMail | None = None,
        reason: str = "",
    ) -> None:
        """The mail server has taken a mail: what is in it counts as reported from now on.

        `rest` is the mail for the recipients that were refused for now, with the `reason`; it
        waits in its place.
        """
        with self._database.transaction() as db:
            before = db.execute(select(outbox).where(outbox.c.id == mail.number)).one_or_none()
            remove(db, [mail.number])
            if rest is not None:
                tries = 1 if before is None else before.tries + 1
                failed = {
                    "tries": tries,
                    "failing_since": (before and before.failing_since) or now,
                    "failed": now,
                    "error": reason,
                    "not_before": now + wait_after(tries),
                }
                db.execute(update(outbox).where(outbox.c.id == _add(db, rest)).values(failed))
            for epn in mail.epns:
                new = upsert(reported).values(epn=epn.text, first=now, latest=now, times=1)
                changes = {"latest": now, "times": reported.c.times + 1}
                db.execute(new.on_conflict_do_update(index_elements=["epn"], set_=changes))
            if mail.notes is not None:
                put_state(db, _NOTES, json.dumps(sorted(mail.notes)))

    def told_notes(self) -> frozenset[str]:
        """The notes that were in the latest mail."""
        with self._database.transaction() as db:
            found = db.scalar(select(state.c.value).where(state.c.name == _NOTES))
        return frozenset(json.loads(found)) if found else frozenset()

    def note_told(self, told: Iterable[Experiment], reason: str, now: datetime) -> None:
        """Note that experiments were told of, so that they stay known; an older note stays."""
        with self._database.transaction() as db:
            note_first(db, told, reason, now)

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
                    "since": lesser(due.c.since, new.excluded.since),
                    "latest": now,
                    "reason": reason,
                    "project": project,
                }
                db.execute(
                    new.on_conflict_do_update(index_elements=["beamline", "epn"], set_=changes)
                )


def mail_of(message: WaitingMessage) -> PendingMail:
    """The mail in a message of the outbox."""
    detail = message.detail or {}
    notes = detail.get("notes")
    return PendingMail(
        message.created,
        message.body,
        tuple(map(Epn, detail.get("epns", ()))),
        None if notes is None else tuple(notes),
        message.id,
        message.channel,
        message.subject,
    )


def _add(db: Connection, mail: PendingMail) -> int:
    """Have a mail wait; its number in the outbox."""
    detail = {"epns": [epn.text for epn in mail.epns], "notes": mail.notes}
    message = Message(
        mail.channel,
        NewsKind.REPORT,
        mail.subject,
        mail.created,
        mail.message,
        uuid4().hex,
        detail=detail,
    )
    add(db, [message])
    return int(db.scalars(select(func.max(outbox.c.id))).one())
