"""Opening the catalogue's database: SQLite in WAL mode, its schema brought up to date."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from asynchy.catalogue.backups import advice, check
from asynchy.catalogue.dashboard_tables import metadata  # with all tables
from asynchy.catalogue.foreign_files import opened_foreign
from asynchy.catalogue.reading import ScratchFolder, address_for_reading
from asynchy.catalogue.schema import EPNS, REVISION
from asynchy.config.file_access import access_hint
from asynchy.errors import CatalogueError, ImportRefused, OlderCatalogue
from asynchy.localfs.filesystem import network_file_system
from asynchy.localfs.writable import unwritable
from asynchy.model import heartbeat
from asynchy.model.file_kind import other_kind
from asynchy.model.formatting import escaped

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
_LOOKS = "asynchy_looks"
"""The execution option of a transaction that only reads."""
_STEPS = 1_000_000
"""Steps of SQLite between two signs that it gets on: a statement about 10^7 files takes minutes."""
_BUSY = 30
"""Seconds to wait for another process's transaction; ours take milliseconds."""


@dataclass(frozen=True)
class Database:
    """The database, open; safe to use from several threads."""

    path: Path
    engine: Engine

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open for writing: make it where there is none, and bring its schema up to date.

        Raises:
            CatalogueError: it is on a network file system, cannot be opened, is damaged, or was
                written by a newer asynchy or by another program.
        """
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
            _upgrade(path, connection)
        return database

    @classmethod
    def open_readonly(cls, path: Path) -> Database:
        """Open for reading alone: nothing is written or made; where there is none, it is empty.

        Raises:
            CatalogueError: it cannot be opened, is damaged, or is of another version of asynchy.
        """
        _check_kind(path)
        if not path.exists() or path.stat().st_size == 0:
            return cls(path, _nothing())
        address, keep = address_for_reading(path)
        database = cls(path, _engine(address, keep=keep))
        with database.transaction() as connection:
            found = _revision(connection)
            if found is None:
                _check_names(path, _names(connection))
            if found != REVISION:
                raise _other_version(path, found)
        return database

    @classmethod
    def preview(cls, path: Path) -> Database:
        """Open for reading alone; of an older version, a copy that was brought up to date.

        The copy is in the folder for temporary files, and goes with this object.

        Raises:
            CatalogueError: as `open_readonly`, or the copy cannot be written.
        """
        try:
            return cls.open_readonly(path)
        except OlderCatalogue:
            folder = ScratchFolder()
            copy = folder.path / path.name
            address, keep = address_for_reading(path)
            database = cls(path, _engine(address, keep=keep))
            database._copy_to(copy)
            cls.open(copy)
            return cls.peek_at(path, copy, folder)

    @classmethod
    def snapshot(cls, path: Path) -> Database:
        """Open a copy of the database as it is now, for long reading: no writer waits for it.

        The copy is in the folder for temporary files, and goes with this object.

        Raises:
            CatalogueError: as `peek`, or the copy cannot be written.
        """
        database = cls.open_readonly(path)
        if not path.exists() or path.stat().st_size == 0:
            return database
        folder = ScratchFolder()
        copy = folder.path / path.name
        database._copy_to(copy)
        return cls.peek_at(path, copy, folder)

    @classmethod
    def peek_at(cls, path: Path, copy: Path, folder: ScratchFolder) -> Database:
        """Open, for reading alone, what stands for the database at `path`: a file in a folder."""
        address, _ = address_for_reading(copy)
        return cls(path, _engine(address, keep=folder))

    def _copy_to(self, copy: Path) -> None:
        """Write a copy of it as it is now to a new file."""
        with self.transaction() as connection:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            try:
                with contextlib.closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
            except sqlite3.Error as error:
                raise CatalogueError(
                    f"a copy of {self.path} cannot be written to {copy.parent}: {error}",
                    hint="make room there, or name another folder in TMPDIR",
                ) from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of it or, where an error is raised in it, nothing.

        Raises:
            CatalogueError: the database cannot be used.
        """
        with _translated(self.path), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def looking(self) -> Iterator[Connection]:
        """What there is at one instant, for reading alone: no writer waits for it.

        Raises:
            CatalogueError: the database cannot be used.
        """
        options = {_LOOKS: True}
        with _translated(self.path), self.engine.connect() as connection:
            looking = connection.execution_options(**options)
            with looking.begin():
                yield looking


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
        looks = connection.get_execution_options().get(_LOOKS, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing and not looks else "BEGIN")

    return engine


def _nothing() -> Engine:
    engine = create_engine("sqlite://", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.executescript(";".join(_schema()))
        connection.execute("PRAGMA query_only=ON")

    return engine


@functools.cache
def _schema() -> tuple[str, ...]:
    """The statements that make what a new catalogue has."""
    tables = metadata.sorted_tables
    made: list[CreateTable | CreateIndex] = [CreateTable(table) for table in tables]
    made += [CreateIndex(index) for table in tables for index in table.indexes]
    version = (
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
        " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    return (
        *(str(one.compile(dialect=sqlite.dialect())) for one in made),
        EPNS,
        version,
        f"INSERT INTO alembic_version VALUES ('{REVISION}')",  # noqa: S608 - a constant
    )


def _names(connection: Connection) -> frozenset[str]:
    """The names of its tables and views."""
    return frozenset(map(str, connection.exec_driver_sql(_NAMES).scalars()))


def _revision(connection: Connection) -> str | None:
    if "alembic_version" not in _names(connection):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _upgrade(path: Path, connection: Connection) -> None:
    found = _revision(connection)
    if found == REVISION:
        return
    if not _names(connection):
        for statement in _schema():
            connection.exec_driver_sql(statement)
        return
    # Alembic takes longer to import than most commands run, and is needed once a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    steps = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in steps:
        raise _other_version(path, found)
    if found is not None:
        _back_up(path, found)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


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
    except ImportRefused:  # there is none yet, or whoever opens it finds out what is wrong
        return
    _check_names(path, names)


def _check_names(path: Path, names: frozenset[str]) -> None:
    if "alembic_version" in names:
        return
    name = next((name for name in sorted(names) if not name.startswith("sqlite_")), None)
    if name is not None:
        raise CatalogueError(
            f"{path} is a database of another program: it has {escaped(name, limit=60)}",
            hint="let `catalogue` (or `db`) name another file; nothing was changed",
        )


def _back_up(path: Path, revision: str) -> None:
    """Keep the database as it was before the upgrade beside it, as `catalogue.db.0001`."""
    kept = path.with_name(f"{path.name}.{revision}")
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(kept)) as target,
    ):
        source.backup(target)


def _other_version(path: Path, found: str | None) -> CatalogueError:
    if found is not None and found < REVISION:
        return OlderCatalogue(
            f"{path} is of an older version of asynchy (schema {found}, here {REVISION})",
            hint="the next command that writes brings it up to date, such as `mxsync --execute "
            "--once` or `asynchy walk`; a copy of it as it is stays beside it",
        )
    return CatalogueError(
        f"{path} is of another version of asynchy (schema {found or 'none'}, here {REVISION})",
        hint="use the asynchy that wrote it, or a newer one; nothing was changed",
    )
