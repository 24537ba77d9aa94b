"""The rows of experiments: remembered when they are seen, told to the plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from asynchy.catalogue.events import note_event
from asynchy.catalogue.row_mapping import experiment_of
from asynchy.catalogue.schema import copies, due, events, experiments, others
from asynchy.catalogue.statements import greater, names_epn
from asynchy.model.epn import Epn
from asynchy.model.event import EventKind
from asynchy.model.experiment import EntryKind, Experiment, LocatedExperiment
from asynchy.model.observed import FolderSeen, is_back, is_usable, not_a_folder, problem_of
from asynchy.model.relocation import KnownFolder

_PLACELESS: tuple[ColumnElement[bool], ...] = (
    experiments.c.beamline == "",
    experiments.c.source == "",
)


def known_folders(db: Connection) -> dict[Experiment, KnownFolder]:
    """Where each experiment was last seen at the facility, of those that were seen there."""
    columns = experiments.c
    query = select(
        columns.beamline, columns.epn, columns.source, columns.vanished, columns.problem
    ).where(columns.source != "", names_epn(columns.epn))
    return {
        experiment_of(beamline, epn): KnownFolder(source, vanished is not None, problem)
        for beamline, epn, source, vanished, problem in db.execute(query)
    }


def remember(db: Connection, experiment: Experiment, source: str, now: datetime) -> int:
    """The id of an experiment that was seen just now; it is stored where it is new.

    An empty `source` is not known, and leaves what is known of it.
    """
    columns = experiments.c
    named = columns.epn == experiment.epn.text
    here = columns.beamline == experiment.beamline
    found = db.scalar(select(columns.id).where(named, here))
    if found is None:
        # An original's database names EPNs without saying where they lie.
        found = db.scalar(select(columns.id).where(named, *_PLACELESS))
    if found is None:
        return _add(db, experiment, source, now)
    values: dict[str, Any] = {"last_seen": now, "beamline": experiment.beamline}
    if source:
        values["source"] = source
    db.execute(update(experiments).where(columns.id == found).values(values))
    return int(found)


def _add(db: Connection, experiment: Experiment, source: str, now: datetime) -> int:
    columns = experiments.c
    elsewhere = select(
        func.max(case((columns.completed_elsewhere, 1), else_=0)),
        func.max(columns.moved_elsewhere),
        func.max(columns.elsewhere_since),
    ).where(columns.epn == experiment.epn.text)
    completed, moved, since = db.execute(elsewhere).one()
    new = insert(experiments).values(
        beamline=experiment.beamline,
        epn=experiment.epn.text,
        proposal=experiment.epn.proposal,
        source=source,
        first_seen=now,
        last_seen=now,
        completed_elsewhere=bool(completed),
        moved_elsewhere=moved,
        elsewhere_since=since,
    )
    return int(db.execute(new.returning(columns.id)).scalar_one())


@dataclass(frozen=True)
class LegacyEpnRow:
    """What an original's table `epns` says of an EPN."""

    epn: Epn
    size: int
    modified: datetime | None
    complete: bool
    moved: int
    """Bytes that the original transferred."""


def store_legacy_epn(db: Connection, said: LegacyEpnRow, now: datetime) -> None:
    """Store what an original's database said of an EPN; what is known from its files stays."""
    columns = experiments.c
    mine = columns.epn == said.epn.text
    if db.scalar(select(func.count()).select_from(experiments).where(mine)) == 0:
        _add(db, Experiment("", said.epn), "", now)
    unlisted = and_(mine, columns.files.is_(None))
    size = greater(func.coalesce(columns.bytes, 0), said.size)
    db.execute(update(experiments).where(unlisted).values(bytes=size))
    if said.modified is not None:
        later = or_(columns.modified.is_(None), columns.modified < said.modified)
        db.execute(update(experiments).where(unlisted, later).values(modified=said.modified))
    db.execute(
        update(experiments)
        .where(mine)
        .values(
            completed_elsewhere=case((columns.completed_elsewhere, True), else_=said.complete),
            moved_elsewhere=greater(func.coalesce(columns.moved_elsewhere, 0), said.moved),
        )
    )
    if said.complete:
        first = and_(mine, columns.elsewhere_since.is_(None))
        db.execute(update(experiments).where(first).values(elsewhere_since=now))


def keep_visible(db: Connection, seen: FolderSeen, now: datetime) -> None:
    """Store which experiments there are in a folder at the facility, all of which was listed."""
    folder, epns, other = seen.folder, seen.epns, seen.only_other
    columns = experiments.c
    stored = select(
        columns.id, columns.beamline, columns.epn, columns.source, columns.vanished,
        columns.problem, columns.link_target,
    )  # fmt: skip
    known = {
        experiment_of(row.beamline, row.epn): row
        for row in db.execute(
            stored.where(columns.source.startswith(f"{folder}/"), names_epn(columns.epn))
        )
    }
    for located in seen.located:
        row = known.get(located.experiment)
        if row is None or any(getattr(row, name) != is_now for name, is_now in _found(located)):
            identity = remember_located(db, located, "", now)
            keep_located(db, identity, located, now)
    for link in seen.broken:
        if link.experiment is None:
            continue
        identity = remember(db, link.experiment, link.path, now)
        values = {"problem": str(link), "link_target": link.target, "vanished": None}
        db.execute(update(experiments).where(columns.id == identity).values(values))
    for experiment, row in known.items():
        there = row.vanished is None and row.source.rpartition("/")[0] == folder
        if there and experiment.epn in other:
            values = {"problem": not_a_folder(row.source)}
            db.execute(update(experiments).where(columns.id == row.id).values(values))
    gone = [
        row.id
        for experiment, row in known.items()
        if experiment.epn not in epns
        and row.vanished is None
        and row.source.rpartition("/")[0] == folder
    ]
    for identity in gone:
        db.execute(update(experiments).where(columns.id == identity).values(vanished=now))


def keep_located(db: Connection, identity: int, located: LocatedExperiment, now: datetime) -> None:
    """Store that the folder of an experiment is there; if it was not before, that is a change."""
    mine = experiments.c.id == identity
    copy = exists().where(copies.c.experiment_id == identity, copies.c.forgotten.is_(None))
    before = db.execute(select(experiments, copy.label("has_copies")).where(mine)).one()
    values: dict[str, Any] = dict(_found(located))
    if located.moved:
        values["walk_id"] = None  # it listed another folder
        note_event(db, identity, EventKind.MOVED, f"from {before.source} to {located.source}", now)
    if is_back(
        was_seen=bool(before.source),
        was_usable=bool(before.source) and before.vanished is None and is_usable(before.problem),
        is_released=before.released is not None,
        has_copies=bool(before.has_copies),
        moved=located.moved,
    ):
        values["changed"] = now
    db.execute(update(experiments).where(mine).values(values))


def remember_located(db: Connection, located: LocatedExperiment, source: str, now: datetime) -> int:
    """The id of an experiment that was found, perhaps under a new name; see `remember`."""
    _rename(db, located, now)
    return remember(db, located.experiment, source, now)


def _rename(db: Connection, located: LocatedExperiment, now: datetime) -> None:
    """Give an experiment the beamline on which it is known from now on, unless one was seen there.

    What was only looked for there before, without success, becomes a part of its history.
    """
    formerly, name = located.formerly, located.experiment
    if formerly is None:
        return
    columns = experiments.c
    mine = (columns.epn == name.epn.text, columns.beamline == name.beamline)
    there = db.execute(select(columns.id, columns.source).where(*mine)).one_or_none()
    if there is not None and there.source:
        return
    old = (columns.epn == formerly.epn.text, columns.beamline == formerly.beamline)
    identity = db.scalar(select(columns.id).where(*old))
    if identity is not None:
        if there is not None:
            for table in (copies, events):
                moved = update(table).where(table.c.experiment_id == there.id)
                db.execute(moved.values(experiment_id=identity))
            db.execute(delete(experiments).where(columns.id == there.id))
        values = {"beamline": name.beamline}
        db.execute(update(experiments).where(columns.id == identity).values(values))
        said = f"{name.beamline}, before: {formerly.beamline or 'none'}"
        note_event(db, int(identity), EventKind.RENAMED, said, now)
        noted = (due.c.epn == formerly.epn.text, due.c.beamline == formerly.beamline)
        db.execute(delete(due).where(*noted))


def _found(located: LocatedExperiment) -> Iterable[tuple[str, str | None]]:
    """The columns of an experiment whose folder is there."""
    yield "source", located.source
    yield "link_target", located.target
    yield "vanished", None
    yield "problem", problem_of(located)


def counted_others(db: Connection, experiment_id: int) -> dict[str, int]:
    """How many dot files, links and special files an experiment is known to have."""
    mine = others.c.experiment_id == experiment_id
    query = select(others.c.kind, func.count()).where(mine).group_by(others.c.kind)
    found = {row[0]: int(row[1]) for row in db.execute(query)}
    return {
        "dot_files": found.get(EntryKind.DOT_FILE.value, 0),
        "symlinks": found.get(EntryKind.SYMLINK.value, 0),
        "special_files": found.get(EntryKind.SPECIAL.value, 0),
    }


def is_news(known: Row[Any], size: int) -> bool:
    """Whether what was listed differs from what was known before; a first listing is no change.

    Of an experiment that the original program called complete, its size was known.
    """
    if known.files is not None:
        return True
    return bool(known.completed_elsewhere) and (known.bytes or 0) != size
