"""Whose the entries of `ignore.yml` are: ours, the original program's, or a person's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import ignore_entries, state
from asynchy.catalogue.statements import names_epn, upsert
from asynchy.model.ignore_rules import entries_now
from asynchy.model.policy import IgnoreEntry, Origin

_READ = "ignore.yml read"
_BEAMLINE = "beamline of the original"


class StoredIgnoreEntries:
    """The catalogue's side of `ignore.yml`.

    All methods raise `CatalogueError` if the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def compare(
        self,
        said: Mapping[str, Origin | None],
        now: datetime,
        *,
        store: bool = False,
        beamline: str | None = None,
    ) -> dict[str, IgnoreEntry]:
        """The entries that are in the file now, and those of ours that a person has taken out.

        `said`: as for `entries_now`. With `store`, what is found is noted, and at first the
        config's `beamline`, too.
        """
        with self._database.transaction() as db:
            columns = ignore_entries.c
            query = select(columns.epn, columns.origin, columns.since)
            rows = db.execute(query.where(names_epn(columns.epn))).all()
            known = {epn: IgnoreEntry(Origin(origin), since) for epn, origin, since in rows}
            read = db.scalar(select(state.c.value).where(state.c.name == _READ))
            found = entries_now(known, said, now, is_first_read=read is None)
            if store:
                _note(db, known, found)
                for name, value in ((_READ, now.isoformat()), (_BEAMLINE, beamline or "")):
                    mark = upsert(state).values(name=name, value=value)
                    db.execute(mark.on_conflict_do_nothing())
        return found

    def original_beamline(self, configured: str | None) -> str | None:
        """The beamline of the original program, whose entries are about no other; None: about all.

        It is the one that the config named when `ignore.yml` was first read: a person may change
        the config later, but the original never fetched from another one.
        """
        with self._database.transaction() as db:
            found = db.scalar(select(state.c.value).where(state.c.name == _BEAMLINE))
        return configured if found is None else found or None

    def unwritten(self, ours: Collection[str]) -> set[str]:
        """Of entries whose line says that we wrote them: those that this catalogue did not write.

        None, if no cycle has read the file yet: the catalogue is new then.
        """
        with self._database.transaction() as db:
            written = ignore_entries.c.origin.in_([Origin.OURS.value, Origin.REMOVED.value])
            known = set(db.scalars(select(ignore_entries.c.epn).where(written)))
            read = db.scalar(select(state.c.value).where(state.c.name == _READ))
        return set() if read is None else set(ours) - known

    def add(self, entries: Mapping[str, IgnoreEntry]) -> None:
        """Store entries that are about to be written to the file."""
        with self._database.transaction() as db:
            _store(db, entries)


def _note(
    db: Connection, known: Mapping[str, IgnoreEntry], found: Mapping[str, IgnoreEntry]
) -> None:
    for epn in known.keys() - found.keys():
        db.execute(delete(ignore_entries).where(ignore_entries.c.epn == epn))
    _store(db, {epn: one for epn, one in found.items() if known.get(epn) != one})


def _store(db: Connection, entries: Mapping[str, IgnoreEntry]) -> None:
    if not entries:
        return
    new = upsert(ignore_entries)
    new = new.on_conflict_do_update(
        index_elements=["epn"],
        set_={"origin": new.excluded.origin, "since": new.excluded.since},
    )
    rows = [
        {"epn": epn, "origin": entry.origin.value, "since": entry.since}
        for epn, entry in entries.items()
    ]
    db.execute(new, rows)
