"""The files of one experiment, as the dashboard shows them: by folder, or a page of one folder.

Experiments have up to 10^7 files. A page is read along the primary keys, whatever the number; to
add up 10^7 files takes half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, literal, select

from asynchy.catalogue.column_types import as_time
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import experiments, files, held
from asynchy.catalogue.statements import find_byte, run_sql
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Level

_SLASH, _AFTER_SLASH = b"/", b"0"
_PAST_ALL = b"\xff" * 5000
"""After every path; Linux has none of more than 4,096 bytes."""
_FIRST = """
SELECT path FROM files
WHERE experiment_id = (SELECT id FROM experiments WHERE beamline = :beamline AND epn = :epn)
AND path >= {start} AND path < :end ORDER BY path LIMIT 1
"""
_INSIDE = "substr(found.path, length(:folder) + 1)"
_NEXT = """
CASE {slash} WHEN 0 THEN CAST(found.path || {zero} AS {blob})
ELSE CAST(substr(found.path, 1, length(:folder) + {slash} - 1) || {after} AS {blob}) END
"""
_NEXT_IN = {
    "sqlite": _NEXT.format(
        slash=f"instr({_INSIDE}, x'2f')", zero="x'00'", after="'0'", blob="BLOB"
    ),
    "postgresql": _NEXT.format(
        slash=f"position(decode('2f', 'hex') IN {_INSIDE})",
        zero="decode('00', 'hex')", after="decode('30', 'hex')", blob="BYTEA",
    ),
}  # fmt: skip
# From each path the one after it is found by the key; what else is in a folder is left out at one
# go: "0" is the character after "/".
_PAGE = """
WITH RECURSIVE found (path, number) AS (
    SELECT ({first}), 1
    UNION ALL SELECT ({next}), found.number + 1 FROM found
    WHERE found.path IS NOT NULL AND found.number < :number
)
SELECT files.path, files.size, files.modified, held.path AS held, held.level
FROM found {join} files ON files.path = found.path
AND files.experiment_id = (SELECT id FROM experiments WHERE beamline = :beamline AND epn = :epn)
LEFT JOIN held ON held.copy_id = :copy AND held.path = files.path AND held.size = files.size
AND held.modified = files.modified AND held.damage IS NULL
ORDER BY files.path
"""
_PAGE_IN = {
    dialect: _PAGE.format(
        first=_FIRST.format(start=":start"),
        next=_FIRST.format(start=following),
        # The paths that were found are to be looked up; SQLite would read all files.
        join="CROSS JOIN" if dialect == "sqlite" else "JOIN",
    )
    for dialect, following in _NEXT_IN.items()
}


@dataclass(frozen=True)
class FolderTotals:
    """The files of one folder of an experiment at the facility; sizes in bytes."""

    name: bytes
    """The first folder of their paths; empty: they are in none."""
    files: int
    bytes: int
    held: int
    """Files that a copy at home has, undamaged, of that size and time."""
    level: Level | None
    """The weakest proof of those; None: nothing is proven."""


@dataclass(frozen=True)
class FolderEntry:
    """A file, or a folder in a folder, of an experiment at the facility."""

    name: bytes
    """In the folder that it is in."""
    is_folder: bool
    size: int = 0
    modified: datetime | None = None
    is_held: bool = False
    """Whether a copy at home has it, undamaged, of that size and time; not known of folders."""
    level: Level | None = None


@dataclass(frozen=True)
class FolderPage:
    """Some of what is in a folder."""

    entries: tuple[FolderEntry, ...]
    next: bytes | None
    """Where the next page begins; None: there is none."""


class FileReads:
    """All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, experiment: Experiment, copy_id: int | None, folder: bytes, start: bytes, number: int
    ) -> FolderPage:
        """Some of what is in a folder, in order of path; `folder` is empty or ends with a slash.

        `start` is where an earlier page said that the next begins; empty: the beginning.
        """
        values = {
            "beamline": experiment.beamline, "epn": experiment.epn.text, "copy": copy_id or 0,
            "folder": folder, "start": max(start, folder), "number": number + 1,
            "end": folder[:-1] + _AFTER_SLASH if folder else _PAST_ALL,
        }  # fmt: skip
        with self._database.looking() as db:
            rows = run_sql(db, _PAGE_IN[db.dialect.name], values).all()
        found = [_entry(row, folder) for row in rows]
        more = bytes(rows[number].path) if len(rows) > number else None
        return FolderPage(tuple(found[:number]), more)

    def folders_of(self, experiment: Experiment, copy_id: int | None) -> list[FolderTotals]:
        """The files of an experiment by the first folder of their paths, the largest first.

        `copy_id`: the copy that is compared with them; None: there is none.
        """
        slash = find_byte(files.c.path, literal(_SLASH))
        name = case((slash > 0, func.substr(files.c.path, 1, slash - 1)), else_=b"")
        size = func.coalesce(func.sum(files.c.size), 0)
        query = (
            select(
                name.label("folder"),
                func.count(),
                size,
                func.count(held.c.path),
                func.min(held.c.level),
            )
            .select_from(files.outerjoin(held, _same(copy_id)))
            .where(_of(experiment))
            .group_by("folder")
            .order_by(size.desc())
        )
        with self._database.looking() as db:
            return [
                FolderTotals(bytes(row[0]), row[1], int(row[2]), row[3], row[4])
                for row in db.execute(query)
            ]

    def damaged_files(self, copy_id: int, number: int) -> list[tuple[bytes, str, datetime]]:
        """Path, damage and time of check of files of a copy in which something is wrong."""
        query = (
            select(held.c.path, held.c.damage, held.c.checked)
            .where(held.c.copy_id == copy_id, held.c.damage.is_not(None))
            .order_by(held.c.path)
            .limit(number)
        )
        with self._database.looking() as db:
            return [
                (bytes(row.path), row.damage, as_time(row.checked)) for row in db.execute(query)
            ]


def _entry(row: Row[Any], folder: bytes) -> FolderEntry:
    name, slash, _ = bytes(row.path)[len(folder) :].partition(_SLASH)
    if slash:
        return FolderEntry(name, is_folder=True)
    level = None if row.level is None else Level(row.level)
    return FolderEntry(
        name, is_folder=False, size=row.size, modified=as_time(row.modified),
        is_held=row.held is not None, level=level,
    )  # fmt: skip


def _of(experiment: Experiment) -> ColumnElement[bool]:
    mine = select(experiments.c.id).where(
        experiments.c.epn == experiment.epn.text,
        experiments.c.beamline == experiment.beamline,
    )
    return files.c.experiment_id == mine.scalar_subquery()


def _same(copy_id: int | None) -> ColumnElement[bool]:
    """A file that a copy has as the facility does; none, if there is no copy."""
    return and_(
        held.c.copy_id == (copy_id or 0),
        held.c.path == files.c.path,
        held.c.size == files.c.size,
        held.c.modified == files.c.modified,
        held.c.damage.is_(None),
    )
