"""A whole catalogue copied to another place: from SQLite to PostgreSQL, or back."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select, text

from asynchy.catalogue.bulk import copy_in
from asynchy.catalogue.dashboard_tables import metadata  # with all tables
from asynchy.catalogue.database import Database
from asynchy.catalogue.row_mapping import living_of
from asynchy.catalogue.schema import claims
from asynchy.catalogue.statements import server_time
from asynchy.errors import CatalogueError
from asynchy.localfs.filesystem import fsync_path
from asynchy.model import heartbeat
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress

_BATCH = 10_000


@dataclass(frozen=True)
class CopiedTable:
    """One table that was copied."""

    name: str
    rows: int
    digest: str
    """SHA-256 of all its values, the same in both databases."""


def copy_catalogue(source: CatalogueAddress, target: CatalogueAddress) -> list[CopiedTable]:
    """Copy a catalogue to where there is none; the tables, each compared afterwards.

    The source is read as it is at one instant, and not changed. The target is there as a whole or
    not at all, also if this is killed: PostgreSQL stores it in one transaction, and a file gets its
    name at the end.

    Raises:
        CatalogueError: there is no source, it is of another version, a process works on a copy of
            it, the target is not empty, or what came to it is not the same.
    """
    if not Database.exists(source):
        raise CatalogueError(f"{source} has no catalogue", hint="name the one to copy first")
    # In PostgreSQL, tables without rows may be left of a copy that was killed: rows are looked for.
    if isinstance(target, Path) and Database.exists(target):
        raise CatalogueError(
            f"{target} is not empty", hint="name a new one to copy to; nothing was changed"
        )
    with Database.snapshot(source).looking() as reading:
        _require_idle(source, reading)
        if isinstance(target, PostgresAddress):
            with Database.open(target).transaction() as writing:
                return _copied(reading, writing, target)
        return _in_file(reading, target)


def _in_file(reading: Connection, target: Path) -> list[CopiedTable]:
    """Copy into a file of another name, which gets its own once all is the same."""
    made = target.with_name(f".{target.name}.new")
    _remove(made)
    try:
        database = Database.open(made)
        with database.transaction() as writing:
            copied = _copied(reading, writing, target)
        with database.looking() as db:  # one file alone
            db.exec_driver_sql("SELECT 1")
        database.engine.dispose()
        fsync_path(made)
        made.replace(target)
        fsync_path(target.parent)
    except OSError as error:
        raise CatalogueError(
            f"{target} cannot be written: {error.strerror}", hint="make room, or name another place"
        ) from None
    finally:
        _remove(made)
    return copied


def _remove(made: Path) -> None:
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            made.with_name(made.name + end).unlink()


def _require_idle(source: CatalogueAddress, reading: Connection) -> None:
    now = server_time(reading)
    for row in reading.execute(select(claims)).all():
        claim = living_of(row, now)
        if claim is not None:
            raise CatalogueError(
                f"process {claim.pid} on {claim.host} works on a copy of {source}",
                hint="wait until it has ended, or stop it; nothing was changed",
            )


def _copied(
    reading: Connection, writing: Connection, target: CatalogueAddress
) -> list[CopiedTable]:
    copied = []
    for table in metadata.sorted_tables:
        if writing.scalar(select(func.count()).select_from(table)):
            raise CatalogueError(
                f"{target} is not empty", hint="name a new one to copy to; nothing was changed"
            )
        digest = _Digest()
        copy_in(writing, table, digest.of(_rows(reading, table)))
        _set_counter(writing, table)
        check = _Digest()
        for _ in check.of(_rows(writing, table)):
            pass
        if (check.rows, check.digest) != (digest.rows, digest.digest):
            raise CatalogueError(
                f"{table.name} is not the same in {target}: {check.rows:,} rows for "
                f"{digest.rows:,}",
                hint="the target was not made; report this as a defect",
            )
        copied.append(CopiedTable(table.name, digest.rows, digest.digest))
    return copied


def _rows(db: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """All rows in the order of the key, streamed."""
    query = select(table).order_by(*table.primary_key.columns)
    with db.execute(query, execution_options={"yield_per": _BATCH}) as rows:
        for row in rows:
            yield tuple(row)


class _Digest:
    """The digest of rows that pass by; a NUL in a text counts as what PostgreSQL makes of it."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """In hexadecimal."""
        return self._hash.hexdigest()

    def of(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows, which are counted and digested."""
        while batch := list(itertools.islice(rows, _BATCH)):
            heartbeat.beat()
            self.rows += len(batch)
            for row in batch:
                self._hash.update(repr(row).replace("\\x00", "\ufffd").encode("utf-8", "replace"))
                yield row


def _set_counter(db: Connection, table: Table) -> None:
    """Have PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    column = table.autoincrement_column
    if db.dialect.name == "sqlite" or column is None:
        return
    largest = db.scalar(select(func.max(column)))
    if largest is not None:
        sequence = text("SELECT setval(pg_get_serial_sequence(:table, :column), :largest)")
        db.execute(sequence, {"table": table.name, "column": column.name, "largest": largest})
