"""The rows of experiments: remembered when they are seen, told to the plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, or_, select, update

from asynchy.catalogue.rows import experiment_of
from asynchy.catalogue.schema import experiments
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.plan.observed import FolderSeen

_PLACELESS: tuple[ColumnElement[bool], ...] = (
    experiments.c.beamline == "",
    experiments.c.source == "",
)


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
        func.max(columns.completed_elsewhere),
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
class Reported:
    """What an original's table `epns` says of an EPN."""

    epn: Epn
    size: int
    modified: datetime | None
    complete: bool
    moved: int
    """Bytes that the original transferred."""


def report(db: Connection, said: Reported, now: datetime) -> None:
    """Store what an original's database said of an EPN; what is known from its files stays."""
    columns = experiments.c
    mine = columns.epn == said.epn.text
    if db.scalar(select(func.count()).select_from(experiments).where(mine)) == 0:
        _add(db, Experiment("", said.epn), "", now)
    unlisted = and_(mine, columns.files.is_(None))
    size = func.max(func.coalesce(columns.bytes, 0), said.size)
    db.execute(update(experiments).where(unlisted).values(bytes=size))
    if said.modified is not None:
        later = or_(columns.modified.is_(None), columns.modified < said.modified)
        db.execute(update(experiments).where(unlisted, later).values(modified=said.modified))
    db.execute(
        update(experiments)
        .where(mine)
        .values(
            completed_elsewhere=case((columns.completed_elsewhere, True), else_=said.complete),
            moved_elsewhere=func.max(func.coalesce(columns.moved_elsewhere, 0), said.moved),
        )
    )
    if said.complete:
        first = and_(mine, columns.elsewhere_since.is_(None))
        db.execute(update(experiments).where(first).values(elsewhere_since=now))


def keep_visible(db: Connection, seen: FolderSeen, now: datetime) -> None:
    """Store which experiments there are in a folder at the facility, all of which was listed."""
    folder, epns = seen.folder, seen.epns
    columns = experiments.c
    stored = select(
        columns.id, columns.beamline, columns.epn, columns.source, columns.vanished,
        columns.problem, columns.link_target,
    )  # fmt: skip
    known = {
        experiment_of(row.beamline, row.epn): row
        for row in db.execute(stored.where(columns.source.startswith(f"{folder}/")))
    }
    for located in seen.located:
        row = known.get(located.experiment)
        values = {
            "source": located.source, "vanished": None, "problem": None,
            "link_target": located.target,
        }  # fmt: skip
        if row is None or any(getattr(row, name) != value for name, value in values.items()):
            identity = remember(db, located.experiment, located.source, now)
            db.execute(update(experiments).where(columns.id == identity).values(values))
    for link in seen.broken:
        if link.experiment is None:
            continue
        identity = remember(db, link.experiment, link.path, now)
        values = {"problem": str(link), "link_target": link.target, "vanished": None}
        db.execute(update(experiments).where(columns.id == identity).values(values))
    gone = [
        row.id
        for experiment, row in known.items()
        if experiment.epn not in epns
        and row.vanished is None
        and row.source.rpartition("/")[0] == folder
    ]
    for identity in gone:
        db.execute(update(experiments).where(columns.id == identity).values(vanished=now))
