"""The files of one experiment, as the dashboard shows them: by folder, or a page of one folder.

Experiments have up to 10^7 files. A page is read along the primary keys, whatever the number; to
add up all files takes half a minute for so many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, func, select

from asynchy.catalogue.column_types import as_time
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import experiments, files, held
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Level

_SLASH, _AFTER_SLASH = b"/", b"0"
_MOST_ROWS = 128
"""Read at a time."""


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
        found: list[FolderEntry] = []
        start = max(start, folder)
        for entry, after in self._entries(experiment, copy_id, folder, start):
            if len(found) == number:
                return FolderPage(tuple(found), start)
            found.append(entry)
            start = after
        return FolderPage(tuple(found), None)

    def _entries(
        self, experiment: Experiment, copy_id: int | None, folder: bytes, start: bytes
    ) -> Iterator[tuple[FolderEntry, bytes]]:
        """What is in a folder, and for each the path from which on others come."""
        query = (
            select(files.c.path, files.c.size, files.c.modified, held.c.path.label("held"))
            .add_columns(held.c.level)
            .select_from(files.outerjoin(held, _same(copy_id)))
            .where(_of(experiment))
            .order_by(files.c.path)
        )
        if folder:
            query = query.where(files.c.path < folder[:-1] + _AFTER_SLASH)
        number = _MOST_ROWS
        while True:
            with self._database.looking() as db:
                rows = db.execute(query.where(files.c.path >= start).limit(number)).all()
            for row in rows:
                path = bytes(row.path)
                name, slash, _ = path[len(folder) :].partition(_SLASH)
                if slash:  # all that is in it is left out at one go
                    start = folder + name + _AFTER_SLASH
                    yield FolderEntry(name, is_folder=True), start
                    break
                start = path + b"\0"
                yield (
                    FolderEntry(
                        name, False, row.size, as_time(row.modified), row.held is not None,
                        row.level,
                    ),
                    start,
                )  # fmt: skip
            else:
                if len(rows) < number:
                    return
                number = min(2 * number, _MOST_ROWS)
                continue
            number = 2  # where there is a folder, others may follow

    def folders_of(self, experiment: Experiment, copy_id: int | None) -> list[FolderTotals]:
        """The files of an experiment by the first folder of their paths, the largest first.

        `copy_id`: the copy that is compared with them; None: there is none.
        """
        slash = func.instr(files.c.path, _SLASH)
        name = case((slash > 0, func.substr(files.c.path, 1, slash - 1)), else_=b"")
        size = func.coalesce(func.sum(files.c.size), 0)
        query = (
            select(name, func.count(), size, func.count(held.c.path), func.min(held.c.level))
            .select_from(files.outerjoin(held, _same(copy_id)))
            .where(_of(experiment))
            .group_by(name)
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
