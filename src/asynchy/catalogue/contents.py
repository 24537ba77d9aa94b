"""What an experiment holds, as it was last listed: stored and read again in a stream.

An experiment of 10^7 files needs no more memory than one of ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, exists, select, tuple_

from asynchy.catalogue.database import Database
from asynchy.catalogue.held import Holdings
from asynchy.catalogue.schema import files, folders, held
from asynchy.catalogue.sightings import Row, Sighting
from asynchy.domain.experiment import AtHome, Entry, Kind, Located
from asynchy.domain.level import Damage

_PAGE = 5000
"""Entries read at a time: a transaction that stays open for hours would keep the WAL growing."""
_MODE_UNTOLD = 0o644
_EDITED_AT_A_TIME = 100_000
"""Edited files that a listing remembers, to see that they are as they were again; an audit sees the
others."""


class Listing:
    """One listing of one experiment, stored as it is made; its methods raise `CatalogueError`."""

    def __init__(self, catalogue: Path, located: Located, holdings: Holdings | None) -> None:
        """Begin one; `holdings` is what the copy holds that it is held against, where it is one."""
        self._sighting = Sighting.begin(catalogue, "listing", located.source)
        self._experiment_id, _ = self._sighting.experiment(located)
        self._holdings = holdings
        self._files: list[Row] = []
        self._folders: list[Entry] = []
        self._missing: list[Entry] = []
        self._edited: list[Entry] = []
        self._unedited: list[Entry] = []
        self._known_edited: frozenset[bytes] = frozenset()
        if holdings is not None:
            self._known_edited = holdings.edited().paths(_EDITED_AT_A_TIME)
        self._marked = False

    @property
    def number(self) -> int:
        """Which listing this is, among all sightings."""
        return self._sighting.id

    def add(self, entry: Entry, found: AtHome) -> None:
        """Take one entry, and what is in its place; links and special files are not kept."""
        if entry.kind is Kind.FILE:
            self._files.append((entry.path, entry.size, entry.modified, entry.mode))
            if found is AtHome.MISSING:
                self._missing.append(entry)
            elif found is AtHome.EDITED:
                self._edited.append(entry)
            elif found is AtHome.AS_LISTED and entry.path in self._known_edited:
                self._unedited.append(entry)
        elif entry.kind is Kind.FOLDER:
            self._folders.append(entry)
        if len(self._files) + len(self._folders) >= _PAGE:
            self._hand_over()

    def finish(self, round_trip: float | None) -> None:
        """All of it has been listed: what it no longer holds is forgotten.

        `round_trip`: seconds to the facility and back, where that was measured.
        """
        self._hand_over()
        self._sighting.finish(self._experiment_id)
        self._sighting.end(round_trip)
        if self._holdings:
            self._holdings.forget_vanished()
            if self._marked:
                self._holdings.sum_up(datetime.now(UTC))

    def _hand_over(self) -> None:
        self._sighting.keep(self._experiment_id, self._folders)
        self._sighting.add(self._experiment_id, self._files)
        if self._holdings:
            self._holdings.lose(self._missing)
            self._holdings.edit(self._edited, self._unedited)
            self._marked |= bool(self._missing or self._edited or self._unedited)
        self._files, self._folders = [], []
        self._missing, self._edited, self._unedited = [], [], []


@dataclass(frozen=True)
class Contents:
    """The files and folders of one experiment that a transfer is to bring, or to compare.

    Files that people changed at home are not among them. The iterators raise `CatalogueError`
    where the database cannot be used.
    """

    database: Database
    experiment_id: int
    copy_id: int

    def files(self, larger_than: int) -> Iterator[Entry]:
        """The files larger than so many bytes, the largest first; then the others by their path."""
        column = files.c
        mine = column.experiment_id == self.experiment_id
        place = tuple_(column.size, column.path)
        after: list[ColumnElement[bool]] = []
        while page := self._files(
            [mine, column.size > larger_than, *after], [column.size.desc(), column.path.desc()]
        ):
            yield from page
            after = [place < (page[-1].size, page[-1].path)]
        after = []
        while page := self._files([mine, column.size <= larger_than, *after], [column.path]):
            yield from page
            after = [column.path > page[-1].path]

    def recorded(self, path: bytes) -> tuple[int, int] | None:
        """The size and time that a file had when it arrived; None: that is not known."""
        return Holdings(self.database, self.copy_id, self.experiment_id).recorded(path)

    def folders(self) -> Iterator[Entry]:
        """The folders by their path, so that each comes after the one that it lies in."""
        after = b""
        while True:
            query = (
                select(folders)
                .where(folders.c.experiment_id == self.experiment_id, folders.c.path > after)
                .order_by(folders.c.path)
                .limit(_PAGE)
            )
            with self.database.transaction() as db:
                rows = db.execute(query).all()
            if not rows:
                return
            for row in rows:
                yield Entry(Kind.FOLDER, bytes(row.path), 0, row.modified, row.mode)
            after = bytes(rows[-1].path)

    def _files(
        self, where: list[ColumnElement[bool]], order: list[ColumnElement[int]]
    ) -> list[Entry]:
        edited = exists().where(
            held.c.copy_id == self.copy_id,
            held.c.path == files.c.path,
            held.c.size == files.c.size,
            held.c.modified == files.c.modified,
            held.c.damage == Damage.EDITED.value,
        )
        query = select(files.c.path, files.c.size, files.c.modified, files.c.mode).where(~edited)
        with self.database.transaction() as db:
            rows = db.execute(query.where(*where).order_by(*order).limit(_PAGE)).all()
        return [
            Entry(Kind.FILE, bytes(path), size, modified, _MODE_UNTOLD if mode is None else mode)
            for path, size, modified, mode in rows
        ]
