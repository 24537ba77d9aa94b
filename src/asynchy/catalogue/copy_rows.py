"""The rows of copies: found, and made where they are new; a place belongs to one experiment."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from asynchy.catalogue.dashboard_tables import transfers
from asynchy.catalogue.experiments import remember
from asynchy.catalogue.row_mapping import living_of
from asynchy.catalogue.schema import attempts, claims, copies, experiments
from asynchy.catalogue.statements import server_time
from asynchy.errors import DestinationTaken
from asynchy.localfs.filesystem import holds_data
from asynchy.model.attempt import Claim, Verdict
from asynchy.model.copy_record import LastAttempt
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.formatting import size

was_complete = or_(copies.c.completed.is_not(None), copies.c.doubted)


def has_transfers() -> ColumnElement[bool]:
    """Whether an engine ever ran for a copy, so that something may be at its place."""
    return exists().where(attempts.c.copy_id == copies.c.id, attempts.c.engine != "")


def find_copy(copy: Copy) -> Any:
    """The query for the row of a copy."""
    return (
        select(copies.c.id, copies.c.experiment_id, copies.c.forgotten)
        .join(experiments, experiments.c.id == copies.c.experiment_id)
        .where(
            experiments.c.beamline == copy.experiment.beamline,
            experiments.c.epn == copy.epn.text,
            copies.c.destination == str(copy.destination),
        )
    )


def remember_copy(db: Connection, copy: Copy, now: datetime) -> int:
    """The id of the copy's row; the experiment and the copy are stored where they are new.

    Raises:
        DestinationTaken: another experiment has its copy there.
    """
    experiment_id = remember(db, copy.experiment, copy.source, now)
    require_free(db, copy, experiment_id)
    found = db.execute(find_copy(copy)).one_or_none()
    folder = str(copy.project_folder)
    if found is not None:
        values = {"project_folder": folder, "forgotten": None, "forget_reason": None}
        db.execute(update(copies).where(copies.c.id == found.id).values(values))
        return int(found.id)
    new = insert(copies).values(
        experiment_id=experiment_id,
        project=copy.project,
        destination=str(copy.destination),
        project_folder=folder,
    )
    return int(db.execute(new.returning(copies.c.id)).scalar_one())


def require_free(db: Connection, copy: Copy, experiment_id: int) -> None:
    """Refuse a place that belongs to another experiment, is within its place, or around it.

    A place to which nothing was ever transferred belongs to nobody: its copy is forgotten. That of
    a forgotten copy is free once its files are gone: to forget a copy removes none.

    Raises:
        DestinationTaken: it does.
    """
    place = str(copy.destination)
    others = (
        select(copies.c.id, copies.c.destination, copies.c.forgotten)
        .add_columns(experiments.c.epn, experiments.c.beamline)
        .add_columns(or_(was_complete, has_transfers()).label("in_use"))
        .join(experiments, copies.c.experiment_id == experiments.c.id)
        .where(experiments.c.id != experiment_id)
    )
    around = [str(parent) for parent in copy.destination.parents]
    end = f"/{'/'.join(copy.destination.parts[-2:])}"
    same_end = copies.c.destination.endswith(end, autoescape=True)
    near = or_(
        copies.c.destination == place,
        copies.c.destination.startswith(f"{place}/", autoescape=True),
        copies.c.destination.in_(around),
        same_end,
    )
    for other in db.execute(others.where(near)):
        if not _is_same_place(copy.destination, Path(other.destination)):
            continue
        if other.forgotten is not None and not (
            other.in_use and holds_data(Path(other.destination))
        ):
            continue
        if not other.in_use:
            values = {"forgotten": _now(), "forget_reason": "nothing was transferred to it"}
            db.execute(update(copies).where(copies.c.id == other.id).values(values))
            continue
        whose = f"{other.epn} ({other.beamline})" if other.beamline else other.epn
        where = place if other.destination == place else f"{place}, which is {other.destination},"
        if other.forgotten is not None:
            raise DestinationTaken(
                f"{where} has files of {whose}, whose copy there was forgotten",
                hint="move these files to another folder; or put {beamline} into destination-path",
            )
        raise DestinationTaken(
            f"{where} belongs to {whose}",
            hint="put {beamline} into destination-path, or use `asynchy sync --layout`",
        )


def _is_same_place(one: Path, other: Path) -> bool:
    """Whether two paths are one folder, or one is within the other; links are followed."""
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first == second or first in second.parents or second in first.parents


def _now() -> datetime:
    return datetime.now(UTC)


def listed_values(listing_diff: ListingDiff) -> dict[str, Any]:
    """What is stored with a copy of the latest listing that it was compared with."""
    return {
        "files": listing_diff.files,
        "bytes": listing_diff.bytes,
        "symlinks": listing_diff.brought.symlinks,
        "special_files": listing_diff.brought.special_files,
    }


def correct_future(db: Connection, copy_id: int, now: datetime, listed: datetime) -> None:
    """A change that was seen in the future was seen by a wrong clock, and is in the listing.

    Otherwise the experiment would be fetched in every cycle until that time has come.
    """
    mine = select(copies.c.experiment_id).where(copies.c.id == copy_id).scalar_subquery()
    db.execute(
        update(experiments)
        .where(experiments.c.id == mine, experiments.c.changed > now)
        .values(changed=listed)
    )


def leases(db: Connection) -> dict[int, Claim | LastAttempt]:
    """By copy the process that works on it, or the attempt of one that died in the middle of it."""
    query = select(claims, transfers.c.done, transfers.c.bytes).join(
        copies, copies.c.id == claims.c.copy_id
    )
    same = and_(
        transfers.c.destination == copies.c.destination, transfers.c.process == claims.c.process
    )
    now = server_time(db)
    return {
        row.copy_id: living_of(row, now)
        or LastAttempt(row.heartbeat, Verdict.INTERRUPTED, _died(row.done, row.bytes))
        for row in db.execute(query.outerjoin(transfers, same))
    }


def record_death(db: Connection, copy_id: int, now: datetime) -> None:
    """Record the attempt of a process that died as interrupted; it claims nothing any more."""
    row = db.execute(select(claims).where(claims.c.copy_id == copy_id)).one()
    found = leases(db)[copy_id]
    db.execute(
        insert(attempts).values(
            copy_id=copy_id,
            started=row.since,
            ended=max(now, row.since),  # the clock may have been set back since
            host=row.host,
            pid=row.pid,
            engine="",
            chosen=None,
            check="",
            compare="",
            verdict=Verdict.INTERRUPTED.value,
            reason=found.reason if isinstance(found, LastAttempt) else None,
            stderr="",
            lease=row.lease or None,
        )
    )
    db.execute(delete(claims).where(claims.c.copy_id == copy_id))


def _died(done: int | None, total: int | None) -> str:
    died = "the process died in the middle of it"
    return f"{died}; {size(done)} of {size(total)} had arrived" if done and total else died
