"""What the catalogue remembers of `ignore.yml`: that it was there, and how long its list was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, select

from asynchy.catalogue import schema
from asynchy.catalogue.database import Database
from asynchy.catalogue.statements import upsert
from asynchy.model.catalogue_address import CatalogueAddress

_IN_USE = "in-use"
_IGNORE_FILE = "ignore-file"
_IGNORE_ENTRIES = "ignore-entries"
_IGNORE_COMMENT = "ignore-comment"
_NOT_THERE = "not-there"
_UNLISTED = "unlisted"
_RUN = "run"


@dataclass(frozen=True)
class Markers:
    """What was noted at the end of earlier cycles."""

    in_use: bool = False
    """Whether a cycle of mxsync has begun with this catalogue; otherwise it is new."""
    ignore_file: str | None = None
    """The `ignore.yml` that was last in use; None: none was."""
    ignore_entries: int = 0
    """How many EPNs it had then."""
    ignore_comment: str | None = None
    """The `ignore.yml` that got our comment; people may have removed it since."""
    not_there: tuple[str, ...] = ()
    """The folders of projects that were missing or empty when the catalogue was rebuilt."""
    unlisted: tuple[str, ...] = ()
    """Why the facility could not be listed when a new catalogue was rebuilt; empty: it could."""


class StateMarkers:
    """The notes in one catalogue.

    All methods raise `CatalogueError` if the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: CatalogueAddress) -> StateMarkers:
        """For writing."""
        return cls(Database.open(path))

    @classmethod
    def open_readonly(cls, path: CatalogueAddress) -> StateMarkers:
        """For reading alone; of an older version, a copy that was brought up to date."""
        return cls(Database.preview(path))

    def read(self) -> Markers:
        """What was noted."""
        with self._database.transaction() as db:
            return read_markers(db)

    def begin_run(self) -> int:
        """The number of a new verification of all: higher than any before."""
        with self._database.transaction() as db:
            last = db.scalar(select(schema.state.c.value).where(schema.state.c.name == _RUN))
            number = int(last or 0) + 1
            row = {"name": _RUN, "value": str(number)}
            new = upsert(schema.state).values(row)
            db.execute(new.on_conflict_do_update(index_elements=["name"], set_=row))
        return number

    def begin(
        self,
        *,
        forget_ignore_file: bool = False,
        not_there: Iterable[Path] = (),
        unlisted: Iterable[str] = (),
    ) -> None:
        """Note that the catalogue is in use; a lost `ignore.yml` that was accepted is forgotten.

        `not_there`: the folders of projects in which nothing could be looked for. `unlisted`: why
        the facility could not be listed. Both take the place of what was noted before.
        """
        names = [_NOT_THERE, _UNLISTED]
        if forget_ignore_file:
            names += [_IGNORE_FILE, _IGNORE_ENTRIES, _IGNORE_COMMENT]
        left_open = {_NOT_THERE: list(map(str, not_there)), _UNLISTED: list(unlisted)}
        with self._database.transaction() as db:
            put_state(db, _IN_USE, "yes")
            db.execute(delete(schema.state).where(schema.state.c.name.in_(names)))
            for name, values in left_open.items():
                if values:
                    put_state(db, name, json.dumps(values))

    def note_ignore_file(self, path: CatalogueAddress, entries: int, *, commented: bool) -> None:
        """Note the `ignore.yml` in use and the number of its EPNs."""
        with self._database.transaction() as db:
            put_state(db, _IGNORE_FILE, str(path))
            put_state(db, _IGNORE_ENTRIES, str(entries))
            if commented:
                put_state(db, _IGNORE_COMMENT, str(path))


def read_markers(db: Connection) -> Markers:
    """What was noted."""
    found: dict[str, str] = {row.name: row.value for row in db.execute(select(schema.state))}
    return Markers(
        in_use=_IN_USE in found,
        ignore_file=found.get(_IGNORE_FILE),
        ignore_entries=int(found.get(_IGNORE_ENTRIES, 0)),
        ignore_comment=found.get(_IGNORE_COMMENT),
        not_there=tuple(json.loads(found.get(_NOT_THERE, "[]"))),
        unlisted=tuple(json.loads(found.get(_UNLISTED, "[]"))),
    )


def put_state(db: Connection, name: str, value: str) -> None:
    """Store one fact about our own state."""
    new = upsert(schema.state).values(name=name, value=value)
    db.execute(new.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
