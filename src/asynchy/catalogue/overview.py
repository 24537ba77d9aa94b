"""What is known of every experiment, at the facility and at home, with the portal's visits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from asynchy.catalogue import visits as visit_rows
from asynchy.catalogue.column_types import UtcDateTime
from asynchy.catalogue.copy_rows import has_transfers, leases, was_complete
from asynchy.catalogue.database import Database
from asynchy.catalogue.file_selection import held_of
from asynchy.catalogue.readable_copies import ReadableCopy
from asynchy.catalogue.row_mapping import copy_record_of, experiment_of
from asynchy.catalogue.schema import (
    attempts,
    checks,
    copies,
    due,
    experiments,
    files,
    frontier,
    held,
    reported,
    sightings,
    visits,
)
from asynchy.catalogue.statements import names_epn
from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import CALLED_OFF, DueNote, ExperimentRecord, combine
from asynchy.model.safety import DeletionEvidence
from asynchy.model.verification import CopyFile, Level
from asynchy.model.visit import Beamtime, EquipmentVisits

_WAYS = {
    Level.SIZE: "size and time",
    Level.TRANSPORT: "rsync's checksum as it arrived",
}
"""How what no check has proven was proven."""


@dataclass(frozen=True)
class DataAge:
    """When the facility was last looked at, so that people know how old all this is."""

    portal: datetime | None
    """When the portal last told of a visit; None: never."""
    walk: datetime | None
    """When the latest walk ended; None: there was none."""


class Overview:
    """The records of experiments and copies. One query each, however many there are.

    All methods raise `CatalogueError` if the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(
        self,
        epns: Collection[str] = (),
        answers: Sequence[EquipmentVisits] = (),
        asked: Collection[int] | None = None,
    ) -> list[ExperimentRecord]:
        """Every experiment that is known, or those of some EPNs, in order of EPN.

        `answers` of the portal count, though they may not be stored. `asked`: the equipment that
        the portal is asked about; None: all of it.
        """
        with self._database.transaction() as db:
            found = _experiments(db, epns)
            known = visit_rows.brief(db, epns, asked)
            off_before = visit_rows.off_before(db) if answers else {}
        told = visit_rows.merged(known, answers, off_before)
        if off := visit_rows.called_off(known, told):
            found = [
                replace(one, called_off=True) if one.experiment in off else one for one in found
            ]
        wanted = told.values()
        return combine(found, (one for one in wanted if not epns or one.visit.epn.text in epns))

    def copies(self, epns: Collection[str] = ()) -> list[CopyRecord]:
        """Every copy, or those of some EPNs, in order of EPN."""
        with self._database.transaction() as db:
            by_experiment = _copies(db, epns)
        found = [copy for some in by_experiment.values() for copy in some]
        return sorted(
            found,
            key=lambda one: (
                one.copy.epn.text,
                one.copy.experiment.beamline,
                str(one.copy.destination),
            ),
        )

    def epns(self, beginning: str) -> list[str]:
        """The EPNs that begin so, of experiments that were seen or fetched, in order."""
        begins = experiments.c.epn.startswith(beginning, autoescape=True)
        query = select(experiments.c.epn).where(begins).distinct().order_by(experiments.c.epn)
        with self._database.transaction() as db:
            return list(db.scalars(query))

    def places_below(self, folder: Path) -> list[Path]:
        """The places of the copies below the folder of a project that are or were complete."""
        mine = (copies.c.project_folder == str(folder)) & copies.c.forgotten.is_(None)
        query = select(copies.c.destination).where(mine, was_complete, ReadableCopy())
        with self._database.transaction() as db:
            return list(map(Path, db.scalars(query)))

    def some_files(self, copy: CopyRecord, most: int) -> list[CopyFile]:
        """At most `most` of the files that a copy holds undamaged, evenly from all of them."""
        step = max(1, (copy.files or 0) // most)
        number = func.row_number().over(order_by=held.c.path).label("number")
        mine = (held.c.copy_id == copy.id) & held.c.damage.is_(None)
        numbered = select(held, number).where(mine).subquery()
        query = select(numbered).where((numbered.c.number - 1) % step == 0).limit(most)
        with self._database.looking() as db:
            return list(map(held_of, db.execute(query)))

    def owners_of(self, places: Iterable[Path | None]) -> dict[str, Experiment]:
        """Of some destinations: the experiment whose copy is there, if there is one."""
        wanted = {str(place) for place in places if place is not None}
        query = (
            select(copies.c.destination, experiments.c.beamline, experiments.c.epn)
            .join(experiments, experiments.c.id == copies.c.experiment_id)
            .where(copies.c.destination.in_(wanted), copies.c.forgotten.is_(None))
            .where(or_(was_complete, has_transfers()), names_epn(experiments.c.epn))
        )
        with self._database.transaction() as db:
            rows = db.execute(query).all()
        return {row.destination: experiment_of(row.beamline, row.epn) for row in rows}

    def visits(self, asked: Collection[int] | None = None) -> list[Beamtime]:
        """Every visit that is known, without its scientists and its title.

        `asked`: the equipment that the portal is asked about; None: all of it.
        """
        with self._database.transaction() as db:
            return list(visit_rows.brief(db, asked=asked).values())

    def moved_visits(self) -> frozenset[tuple[str, str, str]]:
        """EPN, former and present beamline of visits that are told on another one than before."""
        with self._database.transaction() as db:
            return visit_rows.moved(db)

    def keep_visits(self, answers: Iterable[EquipmentVisits], now: datetime) -> None:
        """Store the visits that the portal reported, and the spans that it answered completely.

        A visit that it told of before, and does not although it should, was called off.
        """
        with self._database.transaction() as db:
            visit_rows.keep(db, answers, now)

    def answered_until(self) -> dict[int, datetime]:
        """By equipment, the end of the last span for which it was answered completely, if any."""
        with self._database.transaction() as db:
            return visit_rows.answered_until(db)

    def begun_visits(self, equipment: int, since: datetime, until: datetime) -> int:
        """How many visits of an equipment are known that began within some time."""
        with self._database.transaction() as db:
            return visit_rows.begun(db, equipment, since, until)

    def never_visited(self, equipment: Collection[int]) -> list[int]:
        """The equipment entries that the portal has answered for, and never told a visit of."""
        with self._database.transaction() as db:
            return visit_rows.never_visited(db, equipment)

    def replaced(self) -> list[CopyRecord]:
        """The copies beside which earlier versions of files are kept; mostly none are."""
        kept = copies.c.replaced_files > 0
        query = select(experiments.c.epn).join(copies, copies.c.experiment_id == experiments.c.id)
        with self._database.transaction() as db:
            epns = set(db.scalars(query.where(kept)))
        return [one for one in self.copies(epns) if one.replaced.files] if epns else []

    def data_age(self) -> DataAge:
        """When the facility was last looked at."""
        walks = select(func.max(sightings.c.ended)).where(sightings.c.kind == "walk")
        with self._database.transaction() as db:
            return DataAge(db.scalar(select(func.max(visits.c.told))), db.scalar(walks))

    def evidence(self, copy: CopyRecord, level: Level) -> DeletionEvidence:
        """What is known of each file that the facility was last seen to have; reads all of them."""
        same = and_(
            held.c.copy_id == copy.id,
            held.c.path == files.c.path,
            held.c.size == files.c.size,
            held.c.modified == files.c.modified,
            held.c.level.between(level, Level.SOURCE),
            held.c.damage.is_(None),
        )
        of = select(copies.c.experiment_id).where(copies.c.id == copy.id).scalar_subquery()
        query = (
            select(
                func.count().label("files"),
                func.count(held.c.path).label("proven"),
                func.coalesce(func.sum(held.c.size), 0).label("bytes"),
                func.min(held.c.checked).label("first"),
                func.max(held.c.checked).label("last"),
                func.min(held.c.level).label("level"),
            )
            .select_from(files.outerjoin(held, same))
            .where(files.c.experiment_id == of)
        )
        with self._database.transaction() as db:
            row = db.execute(query).one()
            ways = _ways(db, copy.id, row.level)
            unlisted = db.scalar(_unlisted_since(copy.listed).where(frontier.c.experiment_id == of))
        return DeletionEvidence(
            unproven=row.files - row.proven,
            files=row.proven,
            bytes=int(row.bytes),
            ways=ways,
            first=_time(row.first),
            last=_time(row.last),
            unlisted=unlisted or 0,
        )


def _notes(db: Connection, epns: Collection[str]) -> dict[Experiment, DueNote]:
    return {
        experiment_of(row.beamline, row.epn): DueNote(
            row.project, row.since, row.latest, row.reason
        )
        for row in db.execute(_of(select(due), due.c.epn, epns))
    }


def _experiments(db: Connection, epns: Collection[str]) -> list[ExperimentRecord]:
    notes = _notes(db, epns)
    at_home = _copies(db, epns)
    listed = _listed(db)
    mailed = set(db.scalars(select(reported.c.epn)))
    columns = experiments.c
    query = select(
        columns.id, columns.beamline, columns.epn, columns.source, columns.files, columns.bytes,
        columns.modified, columns.changed, columns.vanished, columns.completed_elsewhere,
        columns.elsewhere_since, columns.link_target, columns.problem, columns.released,
        columns.release_reason,
    )  # fmt: skip
    rows = db.execute(_of(query, columns.epn, epns)).all()
    found = [_experiment(row, at_home.get(row[0], ()), listed, notes, mailed) for row in rows]
    # What is due stays known, though nobody has seen it at the facility and no visit tells of it.
    # A visit that was called off before there were any data leaves nothing to fetch.
    noted = notes.keys() - {one.experiment for one in found}
    return found + [
        ExperimentRecord(one, note=notes[one], mailed=one.epn.text in mailed)
        for one in noted
        if notes[one].reason != CALLED_OFF
    ]


def _of(query: Select[Any], column: Any, epns: Collection[str]) -> Select[Any]:
    """The rows of some EPNs, or of all that are EPNs."""
    return query.where(column.in_(sorted(epns)) if epns else names_epn(column))


def _copies(db: Connection, epns: Collection[str]) -> dict[int, tuple[CopyRecord, ...]]:
    """By experiment its copies that were not forgotten, in order of destination."""
    mine = (
        select(copies.c.id)
        .join(experiments, experiments.c.id == copies.c.experiment_id)
        .where(experiments.c.epn.in_(sorted(epns)))
    )
    tries = select(
        attempts.c.copy_id,
        func.count().label("tried"),
        func.count().filter(attempts.c.engine != "").label("transfers"),
        func.max(attempts.c.id).label("last"),
    ).group_by(attempts.c.copy_id)
    audited = (
        select(
            checks.c.copy_id,
            func.count().filter(checks.c.whole).label("audits"),
            func.max(checks.c.ended).label("audited"),
            func.max(checks.c.id).label("last_audit"),
        )
        .where(checks.c.kind == "audit")
        .group_by(checks.c.copy_id)
    )
    if epns:
        tries = tries.where(attempts.c.copy_id.in_(mine))
        audited = audited.where(checks.c.copy_id.in_(mine))
    tried, audits = tries.subquery(), audited.subquery()
    query = (
        select(
            copies.c.id, copies.c.experiment_id, copies.c.project, copies.c.destination,
            copies.c.project_folder, copies.c.completed, copies.c.completed_listing,
            copies.c.files, copies.c.bytes, copies.c.level, copies.c.verified, copies.c.damaged,
            copies.c.missing, copies.c.doubted, copies.c.losses, copies.c.edited,
            copies.c.replaced_files, copies.c.replaced_bytes, copies.c.replaced_by_less,
            copies.c.replaced, copies.c.symlinks, copies.c.special_files, copies.c.lost_links,
            experiments.c.dot_files,
            experiments.c.symlinks.label("all_symlinks"),
            experiments.c.special_files.label("all_special_files"),
            experiments.c.epn, experiments.c.beamline, experiments.c.source,
            tried.c.tried, tried.c.transfers,
            audits.c.audits, audits.c.audited, audits.c.last_audit,
            attempts.c.verdict, attempts.c.reason, attempts.c.ended,
        )
        .join(experiments, experiments.c.id == copies.c.experiment_id)
        .outerjoin(tried, tried.c.copy_id == copies.c.id)
        .outerjoin(attempts, attempts.c.id == tried.c.last)
        .outerjoin(audits, audits.c.copy_id == copies.c.id)
        .where(copies.c.forgotten.is_(None), ReadableCopy())
        .order_by(copies.c.destination)
    )  # fmt: skip
    held_leases = leases(db)
    found: defaultdict[int, list[CopyRecord]] = defaultdict(list)
    for row in db.execute(_of(query, experiments.c.epn, epns)).all():
        found[row[1]].append(copy_record_of(row, held_leases.get(row[0])))
    return {experiment: tuple(some) for experiment, some in found.items()}


def _listed(db: Connection) -> dict[str, datetime]:
    """By path at the facility when all of an experiment was last listed."""
    ended = func.max(func.coalesce(sightings.c.ended, sightings.c.started), type_=UtcDateTime)
    alone = (
        select(sightings.c.origin, ended)
        .where(sightings.c.kind == "listing", sightings.c.ended.is_not(None))
        .group_by(sightings.c.origin)
    )
    walked = (
        select(experiments.c.source, ended)
        .join(sightings, sightings.c.id == experiments.c.walk_id)
        .group_by(experiments.c.source)
    )
    found: dict[str, datetime] = {}
    for query in (alone, walked):
        for source, when in db.execute(query):
            found[source] = max(when, found.get(source, when))
    return found


def _experiment(
    row: Sequence[Any],
    at_home: tuple[CopyRecord, ...],
    listed: Mapping[str, datetime],
    notes: Mapping[Experiment, DueNote],
    mailed: Collection[str],
) -> ExperimentRecord:
    (
        _, beamline, epn, source, files, size, modified, changed, vanished,
        completed_elsewhere, elsewhere_since, link_target, problem, released, release_reason,
    ) = row  # fmt: skip
    experiment = experiment_of(beamline, epn)
    return ExperimentRecord(
        experiment=experiment,
        source=source,
        seen=True,
        visible=bool(source) and vanished is None,
        link_target=link_target,
        problem=problem,
        listed=listed.get(source),
        files=files,
        bytes=size,
        modified=modified,
        changed=changed,
        vanished=vanished,
        completed_elsewhere=completed_elsewhere,
        elsewhere_since=elsewhere_since,
        released=released,
        release_reason=release_reason,
        copies=at_home,
        note=notes.get(experiment) if notes else None,
        mailed=epn in mailed,
    )


def _unlisted_since(listed: datetime | None) -> Select[Any]:
    """How many folders the latest walk could not list, if it was begun after a listing."""
    walked = select(func.max(sightings.c.started)).where(sightings.c.kind == "walk")
    count = select(func.count()).select_from(frontier).where(frontier.c.problem.is_not(None))
    return count if listed is None else count.where(walked.scalar_subquery() > listed)


def _ways(db: Connection, copy_id: int, weakest: Level | None) -> tuple[str, ...]:
    """How the files of a copy were proven, as text for people."""
    if weakest is None:
        return ()
    if weakest is not Level.SOURCE:
        return (_WAYS[weakest],)
    query = select(checks.c.way).where(
        checks.c.copy_id == copy_id, checks.c.kind == "verify", checks.c.files > 0
    )
    return tuple(dict.fromkeys(db.scalars(query.order_by(checks.c.id))))


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
