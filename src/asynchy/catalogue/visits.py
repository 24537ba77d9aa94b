"""The visits that the portal reported, for reports and receipts: it forgets, or cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
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
    func,
    insert,
    or_,
    select,
    true,
    type_coerce,
    update,
)

from asynchy.catalogue.due_rows import note_first
from asynchy.catalogue.row_mapping import experiment_of
from asynchy.catalogue.schema import called_off as called_off_visits
from asynchy.catalogue.schema import due, portal_spans, visits
from asynchy.catalogue.statements import names_epn, upsert
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import CALLED_OFF
from asynchy.model.person import Person
from asynchy.model.visit import Beamtime, EquipmentVisits, Visit
from asynchy.model.visit_span import Span, is_whole, span_after

Known = dict[tuple[int, str], Beamtime]
"""Visits by equipment and id at the portal."""
CalledOff = dict[tuple[str, str], str]
"""By id and EPN of a visit the beamline on which it was told, and no longer is."""
_AT_A_TIME = 500
"""Visits that are looked for by their ids in one query."""
_NEW = upsert(visits)
_STORE = _NEW.on_conflict_do_update(
    index_elements=visits.primary_key,
    set_={column.name: _NEW.excluded[column.name] for column in visits.c if not column.primary_key},
)


def keep(db: Connection, answers: Iterable[EquipmentVisits], now: datetime) -> None:
    """Store visits; what is told of one now takes the place of what was told before.

    Of an experiment whose visits were all called off, it is noted that there were some.
    """
    off: set[Experiment] = set()
    for answer in answers:
        mine, here = visits.c.equipment == answer.equipment, visits.c.beamline == answer.beamline
        before = _brief(db, or_(_in_span(answer), and_(mine, ~here)))
        ids = [visit.id for visit in answer.visits]
        for at in range(0, len(ids), _AT_A_TIME):  # a visit may come with another EPN, or time
            before |= _brief(db, and_(mine, visits.c.visit.in_(ids[at : at + _AT_A_TIME])))
        after = merged(before, [answer])
        db.execute(update(visits).where(mine, ~here).values(beamline=answer.beamline))
        if answer.visits:
            db.execute(_STORE, [_values(answer, visit, now) for visit in answer.visits])
        _note_off(db, before, after, now)
        for equipment, number in before.keys() - after.keys():
            mine = and_(visits.c.equipment == equipment, visits.c.visit == number)
            db.execute(delete(visits).where(mine))
        off |= called_off(before, after)
        if not lacks_visits(before, answer):
            _keep_span(db, answer, now)
    _note_called_off(db, off, now)


def _note_off(db: Connection, before: Known, after: Known, now: datetime) -> None:
    """Note the beamlines on which visits are no longer told."""
    for item in no_longer_told(before, after):
        row = upsert(called_off_visits).values(
            visit=item.visit.id, epn=item.visit.epn.text, beamline=item.beamline, at=now
        )
        columns = called_off_visits.primary_key
        db.execute(row.on_conflict_do_update(index_elements=columns, set_={"at": now}))


def no_longer_told(before: Known, after: Known) -> list[Beamtime]:
    """The visits that are no longer told on their equipment, for their EPN and beamline."""
    changed = (key for key, item in before.items() if after.get(key) is not item)
    return [
        before[key]
        for key in changed
        if key not in after or _names(after[key]) != _names(before[key])
    ]


def off_before(db: Connection) -> CalledOff:
    """The visits that were called off on a beamline, with the latest such beamline."""
    rows = db.execute(select(called_off_visits).order_by(called_off_visits.c.at)).all()
    return {(row.visit, row.epn): row.beamline for row in rows}


def moved(db: Connection) -> frozenset[tuple[str, str, str]]:
    """EPN, former and present beamline of the visits that are told on another one than before.

    Without EPNs of which another visit is on the former one: that is another experiment.
    """
    known = and_(
        visits.c.visit == called_off_visits.c.visit, visits.c.epn == called_off_visits.c.epn
    )
    other = visits.alias()
    stays = exists().where(
        other.c.epn == visits.c.epn, other.c.beamline == called_off_visits.c.beamline
    )
    query = (
        select(visits.c.epn, called_off_visits.c.beamline, visits.c.beamline.label("now"))
        .join(called_off_visits, known)
        .where(~stays)
    )
    return frozenset((epn, before, now) for epn, before, now in db.execute(query) if before != now)


def called_off(before: Known, after: Known) -> set[Experiment]:
    """The experiments that had visits before, and have none any more.

    What was seen below no beamline's folder has the visits of its EPN on any.
    """
    changed = {_names(item) for key, item in before.items() if after.get(key) is not item}
    if not changed:
        return set()
    told = set(map(_names, after.values()))
    told |= {("", epn) for _, epn in told}
    changed |= {("", epn) for _, epn in changed}
    return {experiment_of(*names) for names in changed - told}


def _names(item: Beamtime) -> tuple[str, str]:
    return item.beamline, item.visit.epn.text


def _note_called_off(db: Connection, off: Iterable[Experiment], now: datetime) -> None:
    here = or_(visits.c.beamline == due.c.beamline, due.c.beamline == "")
    told = exists().where(here, visits.c.epn == due.c.epn)
    note_first(db, off, CALLED_OFF, now)
    db.execute(delete(due).where(due.c.reason == CALLED_OFF, told))


def merged(
    known: Known, answers: Sequence[EquipmentVisits], off_before: CalledOff | None = None
) -> Known:
    """What is known of visits, and what the portal has told now.

    A visit that it told of before, and that is not in a complete answer for its time, was called
    off. `off_before`: the visits that were called off before. All visits of an equipment entry are
    on the beamline that the config names for it now.
    """
    found = dict(known)
    for answer in answers:
        found |= {
            key: replace(item, beamline=answer.beamline)
            for key, item in found.items()
            if key[0] == answer.equipment and item.beamline != answer.beamline
        }
        told = {(answer.equipment, visit.id): visit for visit in answer.visits}
        if is_whole(answer):
            found = {
                key: item
                for key, item in found.items()
                if key[0] != answer.equipment or key in told or not _should_be_in(answer, item)
            }
        found |= {key: Beamtime(visit, answer.beamline) for key, visit in told.items()}
    off = dict(off_before or {})
    now_off = no_longer_told(known, found)
    off |= {(item.visit.id, item.visit.epn.text): item.beamline for item in now_off}
    if off:
        ids = {number for number, _ in off}
        for key in [key for key in found if key[1] in ids]:
            item = found[key]
            earlier = off.get((item.visit.id, item.visit.epn.text))
            found[key] = replace(item, earlier=earlier)
    return found


def lacks_visits(before: Known, answer: EquipmentVisits) -> bool:
    """Whether an answer without any visit should have some that were told before.

    It calls none of them off, and it is not taken for a complete one.
    """
    if answer.visits or answer.since is None or answer.until is None:
        return False
    mine = (item for key, item in before.items() if key[0] == answer.equipment)
    return any(answer.since <= item.visit.start <= answer.until for item in mine)


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


def begun(db: Connection, equipment: int, since: datetime, until: datetime) -> int:
    """How many visits of an equipment are known that began within some time."""
    began = visits.c.start.between(since, until)
    query = select(func.count()).where(visits.c.equipment == equipment, began)
    return int(db.scalar(query) or 0)


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
    wanted = visits.c.epn.in_(sorted(epns)) if epns else true()
    return _brief(db, wanted, asked)


def _brief(
    db: Connection, wanted: ColumnElement[bool], asked: Collection[int] | None = None
) -> Known:
    columns = (
        visits.c.equipment, visits.c.visit, visits.c.epn, visits.c.beamline, visits.c.start,
        visits.c.end, type_coerce(visits.c.principal, Text).label("principal"),
    )  # fmt: skip
    off = off_before(db)
    return {
        (equipment, visit): Beamtime(
            Visit(visit, experiment_of(beamline, epn).epn, start, end, "", _person(principal)),
            beamline,
            asked is None or equipment in asked,
            off.get((visit, epn)) if off else None,
        )
        for equipment, visit, epn, beamline, start, end, principal in db.execute(
            select(*columns).where(wanted, names_epn(visits.c.epn))
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


def all_of(db: Connection, experiment: Experiment) -> list[Visit]:
    """All visits of an experiment that are known, the earliest first.

    On any beamline, where its is not known.
    """
    query = select(visits).where(visits.c.epn == experiment.epn.text)
    if experiment.beamline:
        query = query.where(visits.c.beamline == experiment.beamline)
    return [_visit(row) for row in db.execute(query.order_by(visits.c.start, visits.c.visit))]


def of_proposals(db: Connection, proposals: Collection[str]) -> list[Visit]:
    """The visits of some proposals, with all who took part."""
    rows = db.execute(select(visits).where(visits.c.epn != "").execution_options(yield_per=1000))
    return [_visit(row) for row in rows if Epn(row.epn).proposal in proposals]


def _person(text: str | None) -> Person | None:
    """A person from the JSON that is stored; most visits have none, or one of a few."""
    found = None if text is None or text == "null" else json.loads(text)
    return Person(**found) if found else None


def _values(answer: EquipmentVisits, visit: Visit, now: datetime) -> dict[str, Any]:
    return {
        "equipment": answer.equipment,
        "visit": visit.id,
        "epn": visit.epn.text,
        "beamline": answer.beamline,
        "start": visit.start,
        "end": visit.end,
        "title": visit.title,
        "principal": asdict(visit.principal) if visit.principal else None,
        "scientists": [asdict(person) for person in visit.scientists],
        "told": now,
    }


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
