"""The visits that the portal told of, for reports and receipts: it forgets, or cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    delete,
    exists,
    false,
    insert,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from asynchy.catalogue.rows import experiment_of
from asynchy.catalogue.schema import due, portal_spans, visits
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.experiment_record import CALLED_OFF
from asynchy.domain.person import Person
from asynchy.domain.visit import Beamtime, EquipmentVisits, Visit
from asynchy.plan.visit_window import Span, is_whole, span_after

Known = dict[tuple[int, str], Beamtime]
"""Visits by equipment and id at the portal."""


def keep(db: Connection, answers: Iterable[EquipmentVisits], now: datetime) -> None:
    """Store visits; what is told of one now takes the place of what was told before.

    Of an experiment whose visits were all called off, it is noted that there were some.
    """
    off: set[Experiment] = set()
    for answer in answers:
        before = _brief(db, _in_span(answer))
        after = merged(before, [answer])
        for visit in answer.visits:
            _store(db, answer, visit, now)
        for equipment, number in before.keys() - after.keys():
            mine = and_(visits.c.equipment == equipment, visits.c.visit == number)
            db.execute(delete(visits).where(mine))
        off |= called_off(before, after)
        _keep_span(db, answer, now)
    _note_called_off(db, off, now)


def called_off(before: Known, after: Known) -> set[Experiment]:
    """The experiments that had visits before, and have none any more."""
    changed = {_names(item) for key, item in before.items() if after.get(key) is not item}
    gone = changed.difference(map(_names, after.values())) if changed else changed
    return {experiment_of(*names) for names in gone}


def _names(item: Beamtime) -> tuple[str, str]:
    return item.beamline, item.visit.epn.text


def _note_called_off(db: Connection, off: Iterable[Experiment], now: datetime) -> None:
    told = exists().where(visits.c.beamline == due.c.beamline, visits.c.epn == due.c.epn)
    for experiment in off:
        note = upsert(due).values(
            beamline=experiment.beamline,
            epn=experiment.epn.text,
            project="",
            since=now,
            latest=now,
            reason=CALLED_OFF,
        )
        db.execute(note.on_conflict_do_nothing())
    db.execute(delete(due).where(due.c.reason == CALLED_OFF, told))


def merged(known: Known, answers: Iterable[EquipmentVisits]) -> Known:
    """What is known of visits, and what the portal has told now.

    A visit that it told of before, and that is not in a complete answer for its time, was called
    off.
    """
    found = dict(known)
    for answer in answers:
        told = {(answer.equipment, visit.id): visit for visit in answer.visits}
        if is_whole(answer):
            found = {
                key: item
                for key, item in found.items()
                if key[0] != answer.equipment or key in told or not _should_be_in(answer, item)
            }
        found |= {key: Beamtime(visit, answer.beamline) for key, visit in told.items()}
    return found


def _in_span(answer: EquipmentVisits) -> ColumnElement[bool]:
    """The stored visits that an answer with any visit should have: see `_should_be_in`."""
    if answer.since is None or answer.until is None:
        return false()
    return and_(
        visits.c.equipment == answer.equipment,
        visits.c.start >= answer.since,
        visits.c.start <= answer.until,
    )


def _should_be_in(answer: EquipmentVisits, item: Beamtime) -> bool:
    if not answer.visits or answer.since is None or answer.until is None:
        return False  # an answer without any visit calls nothing off
    # Whether the portal filters by overlap or by start, a visit that began in the span is in it.
    return answer.since <= item.visit.start <= answer.until


def _keep_span(db: Connection, answer: EquipmentVisits, now: datetime) -> None:
    """Move on the end of what was answered completely, unless a gap would be left before it."""
    mine = portal_spans.c.equipment == answer.equipment
    row = db.execute(select(portal_spans).where(mine)).one_or_none()
    known = None if row is None else Span(row.since, row.until)
    span = span_after(known, answer, now)
    if span is None or span == known:
        return
    if known is not None:
        db.execute(update(portal_spans).where(mine).values(since=span.since, until=span.until))
    else:
        new = insert(portal_spans).values(
            equipment=answer.equipment, since=span.since, until=span.until
        )
        db.execute(new)


def answered_until(db: Connection) -> dict[int, datetime]:
    """By equipment, the end of the last span for which it was answered completely, if it was."""
    return {row.equipment: row.until for row in db.execute(select(portal_spans))}


def never_visited(db: Connection, equipment: Collection[int]) -> list[int]:
    """The equipment entries that the portal has answered for, and never told a visit of."""
    answered = select(portal_spans.c.equipment).where(
        portal_spans.c.equipment.in_(sorted(equipment)),
        ~exists().where(visits.c.equipment == portal_spans.c.equipment),
    )
    return list(db.scalars(answered.order_by(portal_spans.c.equipment)))


def brief(
    db: Connection, epns: Collection[str] = (), asked: Collection[int] | None = None
) -> Known:
    """Every visit that is known, or those of some EPNs, without its scientists and its title.

    `asked`: the equipment that the portal is asked about; None: all of it.
    """
    return _brief(db, visits.c.epn.in_(sorted(epns)) if epns else true(), asked)


def _brief(
    db: Connection, wanted: ColumnElement[bool], asked: Collection[int] | None = None
) -> Known:
    columns = (
        visits.c.equipment, visits.c.visit, visits.c.epn, visits.c.beamline, visits.c.start,
        visits.c.end, type_coerce(visits.c.principal, Text).label("principal"),
    )  # fmt: skip
    return {
        (equipment, visit): Beamtime(
            Visit(visit, experiment_of(beamline, epn).epn, start, end, "", _person(principal)),
            beamline,
            asked is None or equipment in asked,
        )
        for equipment, visit, epn, beamline, start, end, principal in db.execute(
            select(*columns).where(wanted)
        ).all()
    }


def ended_of(db: Connection, experiment: Experiment, now: datetime) -> list[Visit]:
    """The visits of an experiment that have ended, the earliest first.

    On any beamline, where its is not known.
    """
    query = select(visits).where(visits.c.epn == experiment.epn.text, visits.c.end < now)
    if experiment.beamline:
        query = query.where(visits.c.beamline == experiment.beamline)
    return [_visit(row) for row in db.execute(query.order_by(visits.c.start, visits.c.visit))]


def _person(text: str | None) -> Person | None:
    """A person from the JSON that is stored; most visits have none, or one of a few."""
    found = None if text is None or text == "null" else json.loads(text)
    return Person(**found) if found else None


def _store(db: Connection, answer: EquipmentVisits, visit: Visit, now: datetime) -> None:
    values = {
        "epn": visit.epn.text,
        "beamline": answer.beamline,
        "start": visit.start,
        "end": visit.end,
        "title": visit.title,
        "principal": asdict(visit.principal) if visit.principal else None,
        "scientists": [asdict(person) for person in visit.scientists],
        "told": now,
    }
    new = upsert(visits).values(equipment=answer.equipment, visit=visit.id, **values)
    db.execute(new.on_conflict_do_update(index_elements=["equipment", "visit"], set_=values))


def _visit(row: Row[Any]) -> Visit:
    return Visit(
        id=row.visit,
        epn=Epn(row.epn),
        start=row.start,
        end=row.end,
        title=row.title,
        principal=Person(**row.principal) if row.principal else None,
        scientists=tuple(Person(**person) for person in row.scientists),
    )
