"""SQLite files that other programs wrote, opened so that their contents cannot run anything.

A schema is a program: a view may be endless, a virtual table or a generated column may compute
anything. So only ordinary tables are read, and only after SQLite has checked their pages.
https://sqlite.org/security.html#untrusted_sqlite_database_files
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from asynchy.catalogue.reading import opened_for_reading
from asynchy.errors import ImportRefused
from asynchy.model.file_kind import other_kind
from asynchy.model.formatting import escaped

NOTHING_TAKEN = "nothing was taken from it; "
_LONGEST = 64 * 1024
"""Bytes of a value, a row or a statement of the schema; a path has 4,096 at most."""
_PATIENCE = 1.0
"""Seconds of processor time for the schema, and without a row …"""
_BYTES_A_SECOND = 25_000_000
"""… and a second more for a number of bytes of the file: a check of all rows reads all of it."""
_STEPS = 2_000
"""Steps of SQLite's virtual machine between two looks at the clock; to read a line of the schema
takes some ten, and 40 microseconds where it has very many."""
_BATCH = 5_000
_HINT = "name a file that as-walker or the original asynchy wrote"
_BESIDE = ("", "-wal", "-shm", "-journal")
_HIDDEN = 1
"""Column of `PRAGMA table_xinfo`, from the end: not 0 for generated columns."""


class ForeignDatabase:
    """A database of another program, at one instant. Its methods raise `sqlite3.Error`, too."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db
        self._patience = _PATIENCE
        self._since = time.thread_time()
        db.text_factory = bytes
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        db.set_progress_handler(self._is_stuck, _STEPS)
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "ignore_check_constraints=ON"):
            db.execute(f"PRAGMA {setting}")
        db.execute("BEGIN")

    def names(self) -> frozenset[str]:
        """The names of its tables, views and virtual tables, in lower case."""
        query = "SELECT lower(name) FROM sqlite_master WHERE type IN ('table', 'view')"
        return frozenset(name.decode(errors="replace") for batch in self.rows(query)
                         for (name,) in batch)  # fmt: skip

    def program(self) -> bytes | None:
        """The name of a trigger or a virtual table, which run when others write; None: none."""
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'trigger' "
            "OR type = 'table' AND rootpage = 0"
        )
        found = self.first(query)
        return None if found is None else found[0]

    def columns(self, table: str) -> frozenset[str]:
        """The columns of a table.

        Raises:
            ImportRefused: it is a view or a virtual table, or has generated columns.
        """
        query = "SELECT type, rootpage FROM sqlite_master WHERE lower(name) = ? AND type <> 'index'"
        for kind, root in self._db.execute(query, (table,)).fetchmany(2):
            if kind != b"table":
                raise self._not_a_table(table, f"a {kind.decode(errors='replace')}")
            if not root:
                raise self._not_a_table(table, "a virtual table")
        found = self._db.execute(f"PRAGMA table_xinfo({table})").fetchall()
        generated = [row[1] for row in found if row[-_HIDDEN]]
        if generated:
            raise self._not_a_table(
                table, f"a table with a generated column ({escaped(generated[0], limit=60)})"
            )
        return frozenset(row[1].decode(errors="replace") for row in found)

    def check(self, tables: Collection[str]) -> None:
        """Have SQLite check the pages of tables.

        Raises:
            ImportRefused: they are damaged.
        """
        self._patience = _PATIENCE + self._path.stat().st_size / _BYTES_A_SECOND
        for table in sorted(tables):
            self._since = time.thread_time()
            (verdict,) = self._db.execute(f"PRAGMA quick_check({table})").fetchone()
            if verdict != b"ok":
                raise ImportRefused(
                    f"{self._path} is damaged: {escaped(verdict, limit=200)}",
                    hint=f"{NOTHING_TAKEN}look for a good copy of it",
                )

    def rows(self, query: str, values: Collection[object] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, in batches."""
        self._since = time.thread_time()
        cursor = self._db.execute(query, tuple(values))
        while batch := cursor.fetchmany(_BATCH):
            yield batch
            self._since = time.thread_time()

    def first(self, query: str, values: Collection[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a query."""
        for batch in self.rows(query, values):
            return batch[0]
        return None

    def _is_stuck(self) -> bool:
        return time.thread_time() - self._since > self._patience

    def _not_a_table(self, name: str, what: str) -> ImportRefused:
        return ImportRefused(
            f"{self._path}: {name} is {what}, not an ordinary table",
            hint=f"{NOTHING_TAKEN}{_HINT}",
        )


@contextlib.contextmanager
def opened_foreign(path: Path) -> Iterator[ForeignDatabase]:
    """A database of another program, for reading alone, as it is at this instant.

    Raises:
        ImportRefused: it is no file, or empty, or SQLite says that it cannot be read.
        CatalogueError: this user may not read it.
    """
    for end in _BESIDE:
        _check_kind(path.with_name(path.name + end) if end else path, required=not end)
    try:
        with opened_for_reading(path) as db:
            yield ForeignDatabase(path, db)
    except sqlite3.Error as error:
        raise ImportRefused(
            f"{path}: {why(error)}", hint=f"{NOTHING_TAKEN}look for a good copy of it"
        ) from error


def _check_kind(path: Path, *, required: bool) -> None:
    """Refuse what is not a file with something in it: opening a named pipe may wait for ever."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if not required:
            return
        raise ImportRefused(f"{path} is not there", hint=_HINT) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImportRefused(f"{path}: {reason}", hint=_HINT) from None
    what = other_kind(found.st_mode)
    if what is None and required and not found.st_size:
        what = "empty"
    if what is not None:
        raise ImportRefused(f"{path} is {what}", hint=_HINT)


def why(error: sqlite3.Error) -> str:
    """What went wrong while a file was read, for people."""
    if "interrupted" in str(error):
        return "reading it takes too long without coming to a row"
    if "too big" in str(error):
        return f"it has a value of more than {_LONGEST:,} bytes; a path has 4,096 at most"
    if "readonly" in str(error):  # SQLite would put the journal's pages back
        return "a program was ended while it wrote to it; open it once with that program"
    return str(error)
