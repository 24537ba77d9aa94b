"""What an experiment holds, as it was last listed: stored and read again in a stream.

An experiment of 10^7 files needs no more memory than one of ten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, exists, select, tuple_

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.catalogue.database import Database
from asynchy.catalogue.scans import Row, ScanWriter
from asynchy.catalogue.schema import files, folders, held
from asynchy.model.experiment import Entry, EntryKind, LocalState, LocatedExperiment
from asynchy.model.verification import Damage, Recorded

_PAGE = 5000
"""Entries read at a time: a transaction that stays open for hours would keep the WAL growing."""
_MODE_UNTOLD = 0o644
_EDITED_AT_A_TIME = 100_000
"""Edited files that a listing remembers, to see that they are as they were again; an audit sees the
others."""


class ListingWriter:
    """One listing of one experiment, stored as it is made; its methods raise `CatalogueError`."""

    def __init__(
        self, database: Database, located: LocatedExperiment, holdings: CopyFiles | None
    ) -> None:
        """Begin one; `holdings`: what the copy holds with which it is compared, if there is one."""
        self._sighting = ScanWriter.of(database, "listing", located.source)
        self._experiment_id, _ = self._sighting.experiment(located)
        self._holdings = holdings
        self._files: list[Row] = []
        self._folders: list[Entry] = []
        self._others: list[Entry] = []
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

    def add(self, entry: Entry, found: LocalState) -> None:
        """Take one entry, and what is in its place."""
        if entry.kind is EntryKind.FILE:
            self._files.append((entry.path, entry.size, entry.modified, entry.mode))
            if found is LocalState.MISSING:
                self._missing.append(entry)
            elif found is LocalState.EDITED:
                self._edited.append(entry)
            elif found is LocalState.AS_LISTED and entry.path in self._known_edited:
                self._unedited.append(entry)
        elif entry.kind is EntryKind.FOLDER:
            self._folders.append(entry)
        else:
            self._others.append(entry)
        if len(self._files) + len(self._folders) + len(self._others) >= _PAGE:
            self._hand_over()

    def finish(self, round_trip: float | None, unlisted: Collection[bytes] = ()) -> None:
        """Nothing more is listed: what the facility no longer has is forgotten.

        `round_trip`: seconds to the facility and back, where that was measured. `unlisted`: folders
        that could not be listed: what was in them stays known, and this listing has no end.
        """
        self._hand_over()
        self._sighting.finish(self._experiment_id, unlisted)
        if not unlisted:
            self._sighting.end(round_trip)
        if self._holdings:
            self._holdings.forget_vanished()
            if self._marked:
                self._holdings.sum_up(datetime.now(UTC))

    def _hand_over(self) -> None:
        self._sighting.keep(self._experiment_id, self._folders)
        self._sighting.add_others(self._experiment_id, self._others)
        self._sighting.add(self._experiment_id, self._files)
        if self._holdings:
            self._holdings.lose(self._missing)
            self._holdings.edit(self._edited, self._unedited)
            self._marked |= bool(self._missing or self._edited or self._unedited)
        self._files, self._folders, self._others = [], [], []
        self._missing, self._edited, self._unedited = [], [], []


@dataclass(frozen=True)
class ExperimentFiles:
    """The files and folders of one experiment that a transfer is to bring, or to compare.

    Files that people changed at home are not among them. The iterators raise `CatalogueError`
    where the database cannot be used.
    """

    database: Database
    experiment_id: int
    copy_id: int
    listing: int | None = None
    """The listing that is to be brought: files that it did not see, because their folder could not
    be listed, are not among them. None: all that is known."""

    def files(self, larger_than: int) -> Iterator[Entry]:
        """The files larger than `larger_than` bytes, the largest first; then the others by path."""
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

    def recorded(self, path: bytes) -> Recorded | None:
        """What a file was when it arrived; None: that is not known."""
        return CopyFiles(self.database, self.copy_id, self.experiment_id).recorded(path)

    def folders(self) -> Iterator[Entry]:
        """The folders by their path, so that each comes after the one that it is in."""
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
                yield Entry(EntryKind.FOLDER, bytes(row.path), 0, row.modified, row.mode)
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
        if self.listing is not None:
            query = query.where(files.c.seen >= self.listing)
        with self.database.transaction() as db:
            rows = db.execute(query.where(*where).order_by(*order).limit(_PAGE)).all()
        return [
            Entry(
                EntryKind.FILE, bytes(path), size, modified, _MODE_UNTOLD if mode is None else mode
            )
            for path, size, modified, mode in rows
        ]
