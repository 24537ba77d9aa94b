"""What was stored by a clock that was ahead, corrected once the clock is known to be right."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from asynchy.catalogue.events import note_event
from asynchy.catalogue.row_mapping import experiment_of
from asynchy.catalogue.schema import attempts, copies, due, experiments, ignore_entries, sightings
from asynchy.catalogue.statements import names_epn, upsert
from asynchy.model.attempt import Verdict
from asynchy.model.clock import SKEW
from asynchy.model.event import EventKind
from asynchy.model.formatting import moment
from asynchy.model.safety import name_of

_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""When a copy was compared that was never compared at a time that can be true."""


def correct_times(db: Connection, now: datetime) -> tuple[str, ...]:
    """Copies that were compared in the future are compared again; releases there do not count.

    What an original's database or `ignore.yml` said, or no longer said, then is taken for said now.
    What was corrected and concerns people, a sentence each.
    """
    for column in (ignore_entries.c.since, experiments.c.elsewhere_since):
        db.execute(update(column.table).where(column > now + SKEW).values({column: now}))
    looks = update(sightings).where(sightings.c.ended > now + SKEW)
    db.execute(looks.values(started=now, ended=now))
    return (*_correct_copies(db, now), *_correct_releases(db, now))


def _correct_copies(db: Connection, now: datetime) -> list[str]:
    begun = select(func.max(attempts.c.started)).where(
        attempts.c.copy_id == copies.c.id,
        attempts.c.verdict == Verdict.COMPLETE.value,
        attempts.c.started <= now,
    )
    query = (
        select(copies.c.id, copies.c.experiment_id, copies.c.completed_listing)
        .add_columns(experiments.c.beamline, experiments.c.epn)
        .add_columns(begun.scalar_subquery().label("begun"))
        .join(experiments, experiments.c.id == copies.c.experiment_id)
        .where(copies.c.completed_listing > now + SKEW, names_epn(experiments.c.epn))
    )
    said = []
    for row in db.execute(query).all():
        values = {"completed": now, "completed_listing": row.begun or _UNKNOWN}
        db.execute(update(copies).where(copies.c.id == row.id).values(values))
        mine = experiments.c.id == row.experiment_id
        db.execute(update(experiments).where(mine).values(changed=now))
        said.append(
            f"{name_of(experiment_of(row.beamline, row.epn))} was last compared "
            f"{moment(row.completed_listing)}, which is in the future: this machine's clock was "
            "wrong then. It is compared again."
        )
    return said


def _correct_releases(db: Connection, now: datetime) -> list[str]:
    late = select(experiments).where(
        experiments.c.released > now + SKEW, names_epn(experiments.c.epn)
    )
    said = []
    for row in db.execute(late).all():
        experiment = experiment_of(row.beamline, row.epn)
        wrong = f"{moment(row.released)} is in the future: this machine's clock was wrong then"
        values = {"released": None, "release_reason": None}
        db.execute(update(experiments).where(experiments.c.id == row.id).values(values))
        note_event(db, row.id, EventKind.TAKEN_BACK, wrong, now)
        # Without this, one that was in no visit would be known, and not asked for.
        note = upsert(due).values(
            beamline=row.beamline, epn=row.epn, project="", since=now, latest=now,
            reason="its release was taken back",
        )  # fmt: skip
        db.execute(note.on_conflict_do_nothing())
        said.append(
            f"The release of {name_of(experiment)} does not count: {wrong}. If it need not come "
            f"home, release it again: `asynchy copies forget {row.epn}`."
        )
    return said
