"""What waits to be delivered to people and other programs: one table for all channels."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from asynchy.catalogue.database import Database
from asynchy.catalogue.events import note_event
from asynchy.catalogue.schema import copies, outbox, state, told
from asynchy.catalogue.state_markers import put_state
from asynchy.catalogue.statements import upsert
from asynchy.model.event import EventKind
from asynchy.model.news import Condition, Message, NewsKind, WaitingMessage, wait_after

_OUTAGES = "outages"


class Outbox:
    """A message is removed once its receiver has it. All methods raise `CatalogueError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, channel: str | None = None) -> list[WaitingMessage]:
        """What waits, for one channel or for all, the oldest first."""
        query = select(outbox).order_by(outbox.c.id)
        if channel is not None:
            query = query.where(outbox.c.channel == channel)
        with self._database.looking() as db:
            return [waiting_of(row) for row in db.execute(query)]

    def anything(self) -> bool:
        """Whether anything waits."""
        with self._database.looking() as db:
            return db.execute(select(outbox.c.id).limit(1)).first() is not None

    def delivered(
        self, messages: Sequence[WaitingMessage], now: datetime, note: str | None = None
    ) -> None:
        """These have reached their receiver; `note` is for the history of their experiment."""
        with self._database.transaction() as db:
            remove(db, [one.id for one in messages])
            if note is not None:
                _note(db, messages, EventKind.HANDED_ON, note, now)

    def failed(
        self,
        messages: Sequence[WaitingMessage],
        now: datetime,
        reason: str,
        exit_code: int | None = None,
        note: str | None = None,
    ) -> None:
        """These were not delivered; they wait longer after each try."""
        with self._database.transaction() as db:
            if note is not None:
                _note(db, messages, EventKind.NOT_HANDED_ON, note, now)
            for one in messages:
                values = {
                    "tries": one.tries + 1,
                    "failing_since": one.failing_since or now,
                    "failed": now,
                    "not_before": now + wait_after(one.tries + 1),
                    "error": reason,
                    "exit_code": exit_code,
                }
                db.execute(update(outbox).where(outbox.c.id == one.id).values(values))

    def discard(self, number: int) -> WaitingMessage | None:
        """Remove a message that a person does not want delivered; None: there is none."""
        with self._database.transaction() as db:
            row = db.execute(select(outbox).where(outbox.c.id == number)).one_or_none()
            remove(db, [number])
        return None if row is None else waiting_of(row)

    def keep_channels(self, channels: Collection[str]) -> dict[str, int]:
        """Remove what waits for other channels than these; how many for each."""
        gone = outbox.c.channel.not_in(sorted(channels))
        with self._database.transaction() as db:
            rows = db.execute(
                select(outbox.c.channel, func.count()).where(gone).group_by(outbox.c.channel)
            ).all()
            db.execute(delete(outbox).where(gone))
            db.execute(delete(told).where(told.c.channel.not_in(sorted(channels))))
        return {channel: int(number) for channel, number in rows}

    def told(self, channel: str) -> set[tuple[NewsKind, str]]:
        """The conditions that a channel was told, by kind and key."""
        with self._database.looking() as db:
            rows = db.execute(select(told.c.kind, told.c.key).where(told.c.channel == channel))
            return {(NewsKind(kind), key) for kind, key in rows}

    def tell(
        self,
        channel: str,
        messages: Sequence[Message],
        begun: Iterable[Condition],
        ended: Iterable[tuple[NewsKind, str]],
        now: datetime,
    ) -> None:
        """Store messages together with the conditions that they are about, or nothing of it."""
        with self._database.transaction() as db:
            add(db, messages)
            for kind, key in ended:
                mine = (told.c.channel == channel, told.c.kind == kind.value, told.c.key == key)
                db.execute(delete(told).where(*mine))
            for one in begun:
                new = upsert(told).values(
                    channel=channel, kind=one.kind.value, key=one.key, since=now
                )
                db.execute(new.on_conflict_do_nothing())

    def note_outage(self, what: str, reason: str | None, now: datetime) -> datetime | None:
        """Store that something cannot be asked, or with None that it can; since when it cannot."""
        with self._database.transaction() as db:
            stored = db.scalar(select(state.c.value).where(state.c.name == _OUTAGES))
            known: dict[str, str] = json.loads(stored) if stored else {}
            if reason is None:
                if known.pop(what, None) is None:
                    return None
            elif what not in known:
                known[what] = now.isoformat()
            else:
                return datetime.fromisoformat(known[what])
            put_state(db, _OUTAGES, json.dumps(known))
        return None if reason is None else now


def _note(
    db: Connection, messages: Iterable[Message], kind: EventKind, detail: str, now: datetime
) -> None:
    """Note in the history of experiments what became of messages about their copies."""
    for one in messages:
        mine = copies.c.id == (one.detail or {}).get("copy")
        experiment = db.scalar(select(copies.c.experiment_id).where(mine))
        if experiment is not None:
            note_event(db, experiment, kind, detail, now)


def add(db: Connection, messages: Iterable[Message]) -> None:
    """Store messages, in order."""
    for one in messages:
        row = {name: getattr(one, name) for name in _STORED}
        db.execute(insert(outbox).values(**row, kind=one.kind.value))


def remove(db: Connection, numbers: Sequence[int]) -> None:
    """Remove messages."""
    db.execute(delete(outbox).where(outbox.c.id.in_(numbers)))


_STORED = ("channel", "subject", "created", "body", "message_id", "not_before", "detail")


def waiting_of(row: Row[Any]) -> WaitingMessage:
    """A message from its row."""
    values = dict(row._mapping)
    return WaitingMessage(**values | {"kind": NewsKind(row.kind)})
