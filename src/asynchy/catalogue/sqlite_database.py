"""A catalogue in SQLite: opened, copied, its errors told."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from asynchy.catalogue.backups import advice, check
from asynchy.catalogue.database import LOOKS, Database
from asynchy.catalogue.foreign_files import opened_foreign
from asynchy.catalogue.reading import ScratchFolder, address_for_reading
from asynchy.catalogue.versions import check_names, check_version, statements, upgrade
from asynchy.config.file_access import access_hint
from asynchy.errors import CatalogueError, ImportRefused, OlderCatalogue
from asynchy.localfs.filesystem import network_file_system
from asynchy.localfs.writable import unwritable
from asynchy.model import heartbeat
from asynchy.model.catalogue_address import CatalogueAddress, beside
from asynchy.model.file_kind import other_kind

_HINTS = {
    "locked": "another process keeps it locked; try again",
    "is full": "make room on its disk, and start it again; nothing is lost",
    "readonly": "let the user that runs asynchy write the file and its folder",
    "disk I/O": "see whether its disk is full (df) or failing (dmesg), and start it again",
}
"""What to do, by a word in what SQLite says."""
_NOT_WRITTEN = ("unable to open", "readonly")
"""What SQLite says where a folder is missing, or may not be written: it names neither."""
_NAMES = "SELECT lower(name) FROM sqlite_master WHERE type IN ('table', 'view')"
_STEPS = 1_000_000
"""Steps of SQLite between two signs that it gets on: a statement about 10^7 files takes minutes."""
_BUSY = 30
"""Seconds to wait for another process's transaction; ours take milliseconds."""


class SqliteDatabase(Database):
    """A catalogue in a file of SQLite, in WAL mode."""

    def __init__(self, address: CatalogueAddress, engine: Engine) -> None:
        super().__init__(address, engine)
        self._file = beside(address)

    @classmethod
    def open(cls, address: CatalogueAddress) -> Database:
        """Open for writing: make it where there is none, and bring its schema up to date.

        Raises:
            CatalogueError: it is on a network file system, cannot be opened, is damaged, or was
                written by a newer asynchy or by another program.
        """
        path = _path(address)
        _check_kind(path)
        kind = network_file_system(path)
        if kind is not None:
            raise CatalogueError(
                f"{path} would be on a network file system ({kind}), where SQLite's locks do not "
                "hold",
                hint="set `catalogue` in the config to a path on a local disk",
            )
        _check_ours(path)
        database = cls(path, _engine(f"file:{quote(str(path))}?mode=rwc", writing=True))
        with database.transaction() as connection:
            upgrade(path, connection, _names(connection), lambda found: _back_up(path, found))
        return database

    @classmethod
    def open_readonly(cls, address: CatalogueAddress) -> Database:
        """Open for reading alone: nothing is written or made; where there is none, it is empty.

        Raises:
            CatalogueError: it cannot be opened, is damaged, or is of another version of asynchy.
        """
        path = _path(address)
        _check_kind(path)
        if not path.exists() or path.stat().st_size == 0:
            return empty(path)
        uri, keep = address_for_reading(path)
        database = cls(path, _engine(uri, keep=keep))
        with database.transaction() as connection:
            check_version(path, connection, _names(connection))
        return database

    @classmethod
    def preview(cls, address: CatalogueAddress) -> Database:
        """Open for reading alone; of an older version, a copy that was brought up to date.

        The copy is in the folder for temporary files, and goes with this object.

        Raises:
            CatalogueError: as `open_readonly`, or the copy cannot be written.
        """
        path = _path(address)
        try:
            return cls.open_readonly(path)
        except OlderCatalogue:
            folder = ScratchFolder()
            copy = folder.path / path.name
            uri, keep = address_for_reading(path)
            database = cls(path, _engine(uri, keep=keep))
            _copy(database, copy)
            cls.open(copy)
            return cls.peek_at(path, copy, folder)

    @classmethod
    def snapshot(cls, address: CatalogueAddress) -> Database:
        """Open a copy of the database as it is now, for long reading: no writer waits for it.

        The copy is in the folder for temporary files, and goes with this object.

        Raises:
            CatalogueError: as `peek`, or the copy cannot be written.
        """
        path = _path(address)
        database = cls.open_readonly(path)
        if not path.exists() or path.stat().st_size == 0:
            return database
        folder = ScratchFolder()
        copy = folder.path / path.name
        _copy(database, copy)
        return cls.peek_at(path, copy, folder)

    @classmethod
    def peek_at(cls, path: Path, copy: Path, folder: ScratchFolder) -> SqliteDatabase:
        """Open, for reading alone, what stands for the database at `path`: a file in a folder."""
        uri, _ = address_for_reading(copy)
        return cls(path, _engine(uri, keep=folder))

    @classmethod
    def exists(cls, address: CatalogueAddress) -> bool:
        """Whether there is a file that is not empty, as far as this user can see."""
        try:
            return _path(address).stat().st_size > 0
        except OSError:
            return False

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Turn SQLite's errors into ours."""
        return _translated(self._file)

    def size(self) -> int:
        """Bytes of the file."""
        return self._file.stat().st_size if self._file.exists() else 0


def _path(address: CatalogueAddress) -> Path:
    assert isinstance(address, Path)
    return address


def _copy(database: Database, copy: Path) -> None:
    """Write a copy of a database as it is now to a new file."""
    with database.transaction() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        try:
            with contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise CatalogueError(
                f"a copy of {database.address} cannot be written to {copy.parent}: {error}",
                hint="make room there, or name another folder in TMPDIR",
            ) from None


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the database's errors into ours.

    Raises:
        CatalogueError: instead of what the driver raised.
    """
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if any(word in text for word in _NOT_WRITTEN) and (why := unwritable(path)) is not None:
            raise CatalogueError(why[0], hint=why[1]) from None
        hints = [hint for word, hint in _HINTS.items() if word in text]
        raise CatalogueError(f"{path}: {text}", hint=hints[0] if hints else None) from None
    except DatabaseError as error:
        try:
            problems = check(path)
        except CatalogueError:  # it cannot be checked: that is no damage
            problems = []
        if problems:
            raise CatalogueError(f"{path} is damaged: {problems[0]}", hint=advice(path)) from None
        raise CatalogueError(
            f"{path}: {error.orig}",
            hint="SQLite's own check finds no damage; try again",
        ) from None


def _engine(address: str, *, writing: bool = False, keep: object = None) -> Engine:
    """`keep`: what has to be there as long as the engine is."""

    def connect(_keep: object = keep) -> sqlite3.Connection:
        # Transactions are begun by us (below), not by the driver.
        return sqlite3.connect(address, uri=True, timeout=_BUSY, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.set_progress_handler(heartbeat.beat, _STEPS)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA {'journal_mode=WAL' if writing else 'query_only=ON'}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        looks = connection.get_execution_options().get(LOOKS, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing and not looks else "BEGIN")

    return engine


def empty(address: CatalogueAddress) -> Database:
    """What stands for a catalogue that is not there yet: one that knows nothing."""
    return SqliteDatabase(address, _nothing())


def _nothing() -> Engine:
    engine = create_engine("sqlite://", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.executescript(";".join(statements(engine.dialect)))
        connection.execute("PRAGMA query_only=ON")

    return engine


def _names(connection: Connection) -> frozenset[str]:
    """The names of its tables and views."""
    return frozenset(map(str, connection.exec_driver_sql(_NAMES).scalars()))


def _check_kind(path: Path) -> None:
    """Refuse what is not a file: SQLite says of it that the disk has an error."""
    try:
        kind = other_kind(path.stat().st_mode)
    except PermissionError as error:
        raise CatalogueError(
            f"the catalogue {path}: {error.strerror}", hint=access_hint(path)
        ) from None
    except OSError:
        return  # there is none yet, or SQLite will say what is wrong
    if kind is not None:
        raise CatalogueError(
            f"{path} is {kind}, not a file", hint="let `catalogue` (or `db`) name a file"
        )


def _check_ours(path: Path) -> None:
    """Refuse a database of another program: our tables do not go into it."""
    try:
        with opened_foreign(path) as db:
            names = db.names()
    except ImportRefused:  # there is none yet, or opening it reports the error
        return
    check_names(path, names)


def _back_up(path: Path, revision: str) -> None:
    """Keep the database as it was before the upgrade beside it, as `catalogue.db.0001`."""
    kept = path.with_name(f"{path.name}.{revision}")
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(kept)) as target,
    ):
        source.backup(target)
