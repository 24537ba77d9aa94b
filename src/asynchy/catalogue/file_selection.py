"""Some of the files of a copy, read in a stream, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, func, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import held
from asynchy.model.verification import CopyFile, Damage

_PAGE = 5000
"""Files read at a time: a transaction that stays open for hours would keep the WAL growing."""


@dataclass(frozen=True)
class Selection:
    """Some of the files of a copy; its methods raise `CatalogueError`, too."""

    database: Database
    rows: FromClause
    wanted: ColumnElement[bool]

    def amount(self) -> tuple[int, int]:
        """How many files and bytes they are."""
        total = func.coalesce(func.sum(held.c.size), 0)
        query = select(func.count(), total).select_from(self.rows).where(self.wanted)
        with self.database.looking() as db:
            count, size = db.execute(query).one()
        return count, int(size)

    def paths(self, limit: int) -> frozenset[bytes]:
        """The paths of some of them, up to a limit."""
        query = select(held.c.path).select_from(self.rows).where(self.wanted).limit(limit)
        with self.database.looking() as db:
            return frozenset(map(bytes, db.scalars(query)))

    def __iter__(self) -> Iterator[CopyFile]:
        """The files in order of path, read a page at a time."""
        after = b""
        query = select(held).select_from(self.rows).where(self.wanted).order_by(held.c.path)
        while True:
            with self.database.looking() as db:
                rows = db.execute(query.where(held.c.path > after).limit(_PAGE)).all()
            if not rows:
                return
            yield from map(held_of, rows)
            after = bytes(rows[-1].path)


def held_of(row: Row[Any]) -> CopyFile:
    """A file, from its row."""
    return CopyFile(
        path=bytes(row.path),
        size=row.size,
        modified=row.modified,
        level=row.level,
        checked=datetime.fromtimestamp(row.checked, UTC),
        sha256=None if row.sha256 is None else bytes(row.sha256),
        damage=None if row.damage is None else Damage(row.damage),
        at_home=row.at_home,
    )
