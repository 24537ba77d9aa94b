"""The links and special files that a copy holds: as they came home, and which of them are lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, func, select, true, update

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import copies, held_others, others
from asynchy.model.experiment import EntryKind

_PAGE = 5000
_KEEP = """
INSERT INTO held_others (copy_id, path, target, lost) VALUES (?, ?, ?, ?)
ON CONFLICT (copy_id, path) DO UPDATE SET target = excluded.target, lost = excluded.lost
"""
_KINDS = (EntryKind.SYMLINK.value, EntryKind.SPECIAL.value)


@dataclass(frozen=True)
class HeldOther:
    """A link or special file of a copy."""

    path: bytes
    """Relative to the copy's folder."""
    target: bytes | None
    """Where the link points to; None: it is a special file."""
    lost: bool = False
    """Whether it was found missing, or to lead elsewhere."""


@dataclass(frozen=True)
class HeldOthers:
    """Those of one copy. Methods raise `CatalogueError` if the database cannot be used."""

    database: Database
    copy_id: int

    def __iter__(self) -> Iterator[HeldOther]:
        """All that it holds, in order of path."""
        after = b""
        query = select(held_others).where(held_others.c.copy_id == self.copy_id)
        while True:
            page = query.where(held_others.c.path > after).order_by(held_others.c.path).limit(_PAGE)
            with self.database.looking() as db:
                rows = db.execute(page).all()
            if not rows:
                return
            for row in rows:
                target = None if row.target is None else bytes(row.target)
                yield HeldOther(bytes(row.path), target, row.lost)
            after = bytes(rows[-1].path)

    def listed(self, listing: int) -> Iterator[tuple[bytes, bool, HeldOther | None]]:
        """The links and special files that a listing saw, in order of path.

        With each, whether it is a link, and what the copy held in its place; None: nothing.
        """
        after = b""
        mine = and_(held_others.c.copy_id == self.copy_id, held_others.c.path == others.c.path)
        query = (
            select(
                others.c.path, others.c.kind, held_others.c.path.label("held"),
                held_others.c.target, held_others.c.lost,
            )
            .select_from(others.outerjoin(held_others, mine))
            .where(others.c.experiment_id == self._experiment(), others.c.kind.in_(_KINDS))
            .where(others.c.seen >= listing)
            .order_by(others.c.path)
            .limit(_PAGE)
        )  # fmt: skip
        while True:
            with self.database.looking() as db:
                rows = db.execute(query.where(others.c.path > after)).all()
            if not rows:
                return
            for row in rows:
                held = None
                if row.held is not None:
                    target = None if row.target is None else bytes(row.target)
                    held = HeldOther(bytes(row.held), target, row.lost)
                yield bytes(row.path), row.kind == EntryKind.SYMLINK.value, held
            after = bytes(rows[-1].path)

    def keep(self, found: Iterable[HeldOther]) -> None:
        """Store what the copy holds, and what of it is lost."""
        rows = ((self.copy_id, one.path, one.target, one.lost) for one in found)
        while page := list(itertools.islice(rows, _PAGE)):
            with self.database.transaction([(_KEEP, page)]):
                pass

    def forget_unlisted(self, listing: int) -> None:
        """Forget what the facility no longer has: nothing could bring it again."""
        listed = exists().where(
            others.c.experiment_id == self._experiment(),
            others.c.path == held_others.c.path,
            others.c.seen >= listing,
        )
        gone = delete(held_others).where(held_others.c.copy_id == self.copy_id, ~listed)
        with self.database.transaction() as db:
            db.execute(gone)

    def forget_lost(self, *, symlinks: bool, special_files: bool) -> None:
        """Forget the links, or the special files, that are lost: nobody wants them any more."""
        lost = (held_others.c.copy_id == self.copy_id) & (held_others.c.lost == true())
        is_link = held_others.c.target.is_not(None)
        with self.database.transaction() as db:
            if symlinks:
                db.execute(delete(held_others).where(lost, is_link))
            if special_files:
                db.execute(delete(held_others).where(lost, ~is_link))

    def sum_up(self) -> int:
        """Store with the copy how many are lost, which is returned."""
        lost = held_others.c.lost == true()
        query = select(func.count()).where(held_others.c.copy_id == self.copy_id, lost)
        with self.database.transaction() as db:
            number = db.scalar(query) or 0
            row = update(copies).where(copies.c.id == self.copy_id)
            db.execute(row.values(lost_links=number))
        return number

    def unrecorded(self) -> int:
        """How many were at home at the latest listing, of which it is not known what they were."""
        known = select(func.count()).where(held_others.c.copy_id == self.copy_id)
        counted = select(copies.c.symlinks + copies.c.special_files)
        with self.database.looking() as db:
            there = db.scalar(counted.where(copies.c.id == self.copy_id)) or 0
            return max(0, there - (db.scalar(known) or 0))

    def _experiment(self) -> int:
        query = select(copies.c.experiment_id).where(copies.c.id == self.copy_id)
        with self.database.looking() as db:
            return int(db.scalar(query) or 0)
