"""The catalogue's database, whichever it is: SQLite's file or a PostgreSQL server's.

What differs between the two is in `sqlite_database` and `postgres_database`; what is asked of them
in `statements`, in words that both understand.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine

from asynchy.catalogue.bulk import Bulk, run_bulk
from asynchy.errors import CatalogueError
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress, beside

LOOKS = "asynchy_looks"
"""The execution option of a transaction that only reads."""


class Database(ABC):
    """The database, open; safe to use from several threads."""

    def __init__(self, address: CatalogueAddress, engine: Engine) -> None:
        self.address = address
        self.engine = engine

    @property
    def path(self) -> Path:
        """What the files of this machine beside it are named after; SQLite's is the file itself."""
        return beside(self.address)

    @classmethod
    def open(cls, address: CatalogueAddress) -> Database:
        """Open for writing: make it where there is none, and bring its schema up to date.

        Raises:
            CatalogueError: it cannot be opened, or was written by a newer asynchy or by another
                program.
        """
        return _kind(address).open(address)

    @classmethod
    def open_readonly(cls, address: CatalogueAddress) -> Database:
        """Open for reading alone: nothing is written or made; where there is none, it is empty.

        Raises:
            CatalogueError: it cannot be opened, or is of another version of asynchy.
        """
        return _kind(address).open_readonly(address)

    @classmethod
    def preview(cls, address: CatalogueAddress) -> Database:
        """Open for reading alone; of an older version, what it would be once brought up to date.

        Raises:
            CatalogueError: as `open_readonly`, or that cannot be shown.
        """
        return _kind(address).preview(address)

    @classmethod
    def snapshot(cls, address: CatalogueAddress) -> Database:
        """Open it as it is now, for long reading: no writer waits for it.

        Raises:
            CatalogueError: as `open_readonly`.
        """
        return _kind(address).snapshot(address)

    @classmethod
    def exists(cls, address: CatalogueAddress) -> bool:
        """Whether there is a database with something in it.

        Raises:
            CatalogueError: the server cannot be asked.
        """
        return _kind(address).exists(address)

    @contextlib.contextmanager
    def transaction(self, bulk: Sequence[Bulk] = ()) -> Iterator[Connection]:
        """All of it or, where an error is raised in it, nothing. One writes at a time.

        `bulk`: inserts of many rows, which are run first.

        Raises:
            CatalogueError: the database cannot be used.
        """
        with self.translated(), self.begun(bulk=bulk) as connection:
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def looking(self) -> Iterator[Connection]:
        """What there is at one instant, for reading alone: no writer waits for it.

        Raises:
            CatalogueError: the database cannot be used.
        """
        with self.translated(), self.begun(looks=True) as connection:
            yield connection
            connection.commit()

    def begun(self, *, looks: bool = False, bulk: Sequence[Bulk] = ()) -> Connection:
        """A connection with a transaction begun; unless that is committed, closing it ends it."""
        connection = self.engine.connect()
        try:
            if looks:
                connection = connection.execution_options(**{LOOKS: True})
            connection.begin()
            self.store(connection, bulk)
        except BaseException:
            connection.close()
            raise
        return connection

    def store(self, connection: Connection, bulk: Sequence[Bulk]) -> None:
        """Run inserts of many rows."""
        run_bulk(connection, bulk)

    @abstractmethod
    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Turn the database's errors into ours.

        Raises:
            CatalogueError: instead of what the driver raised.
        """

    @abstractmethod
    def size(self) -> int:
        """Bytes that it takes on the disk."""


def _kind(address: CatalogueAddress) -> type[Database]:
    """Each is loaded where it is used: the driver of PostgreSQL need not be installed."""
    if isinstance(address, PostgresAddress):
        try:
            from asynchy.catalogue.postgres_database import PostgresDatabase  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if error.name != "psycopg":
                raise
            raise CatalogueError(
                "the package psycopg is not installed, which a catalogue in PostgreSQL needs",
                hint="install it with: pip install 'asynchy[postgres]'",
            ) from None
        return PostgresDatabase
    from asynchy.catalogue.sqlite_database import SqliteDatabase  # noqa: PLC0415

    return SqliteDatabase
