"""A catalogue in PostgreSQL: opened, its sessions set up, its errors told.

One process writes at a time, as in SQLite: each transaction that may write first takes a lock of
the database (an advisory one). So what the catalogue's methods have read holds until they have
written, whichever database it is, and no two of ours wait for each other or have to begin again.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import StrBinaryDumper, StrDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from asynchy.catalogue.bulk import Bulk, stage
from asynchy.catalogue.database import LOOKS, Database
from asynchy.catalogue.postgres_errors import is_away, told
from asynchy.catalogue.sqlite_database import empty
from asynchy.catalogue.versions import check_version, upgrade
from asynchy.errors import CatalogueError
from asynchy.model import heartbeat
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress

_OLDEST = 13
_LOCK = 0x61737963
"""The first number of our advisory locks: "asyc"."""
WRITING = 0
"""The second: of the process that writes."""
_BUSY = 30
"""Seconds to wait for another process's transaction, and for a server that is being restarted."""
_PAUSE = 0.2
_ALIVE = 60
"""Seconds after which the server ends the transaction of a client that does nothing: one that was
stopped must not keep the others from writing."""
_SESSION = f"""
SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET lock_timeout = '{_BUSY}s';
SET idle_in_transaction_session_timeout = '{_ALIVE}s'; SET default_transaction_isolation TO
'read committed'; SET search_path TO "$user", public; SET lc_messages TO 'C'
"""
_TAKE_LOCK = f"SELECT pg_advisory_xact_lock({_LOCK}, {WRITING})"
_READS = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_NAMES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
"""
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,  # seconds; and when the server's machine is gone:
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
    "application_name": "asynchy",
}


class PostgresDatabase(Database):
    """A catalogue in a database of a PostgreSQL server."""

    def __init__(self, address: PostgresAddress, *, writing: bool, patient: bool = True) -> None:
        super().__init__(address, _engine(address, writing=writing))
        self._writing = writing
        self._patience = _BUSY if patient else 0

    @classmethod
    def open(cls, address: CatalogueAddress) -> Database:
        """Open for writing: make the tables where there are none, and bring them up to date.

        Raises:
            CatalogueError: it cannot be opened, or was written by a newer asynchy or by another
                program.
        """
        found = _server(address)
        first = cls(found, writing=True, patient=found in _known)
        with first.transaction() as connection:
            if found not in _known:
                _check_server(found, connection)
            upgrade(found, connection, _names(connection), lambda _found: None)
        _known.add(found)
        return cls(found, writing=True)

    @classmethod
    def open_readonly(cls, address: CatalogueAddress) -> Database:
        """Open for reading alone; where there are no tables, it is an empty one.

        Raises:
            CatalogueError: it cannot be opened, or is of another version of asynchy.
        """
        found = _server(address)
        first = cls(found, writing=False, patient=found in _known)
        with first.looking() as connection:
            _check_server(found, connection)
            names = _names(connection)
            if not names:
                return empty(found)
            check_version(found, connection, names)
        _known.add(found)
        return cls(found, writing=False)

    @classmethod
    def preview(cls, address: CatalogueAddress) -> Database:
        """As `open_readonly`: there is no place for a copy of an older version.

        Raises:
            CatalogueError: it cannot be opened, or is of another version of asynchy.
        """
        return cls.open_readonly(address)

    @classmethod
    def snapshot(cls, address: CatalogueAddress) -> Database:
        """As `open_readonly`: each of its transactions sees one instant, and keeps nobody waiting.

        Raises:
            CatalogueError: it cannot be opened, or is of another version of asynchy.
        """
        return cls.open_readonly(address)

    @classmethod
    def exists(cls, address: CatalogueAddress) -> bool:
        """Whether the database has any tables.

        Raises:
            CatalogueError: the server cannot be asked.
        """
        found = _server(address)
        first = cls(found, writing=False, patient=found in _known)
        with first.looking() as connection:
            return bool(_names(connection))

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the server's errors into ours."""
        with _translated(self.address):
            yield

    def store(self, connection: Connection, bulk: Sequence[Bulk]) -> None:
        """Have the rows at the server by COPY, then take the lock, and insert them from there."""
        wanted = [one for one in bulk if one[1]]
        made = [stage(connection, number, one) for number, one in enumerate(wanted)]
        if self._writing and not connection.get_execution_options().get(LOOKS, False):
            connection.exec_driver_sql(_TAKE_LOCK)
        for statement in itertools.chain(*made):
            connection.exec_driver_sql(statement)

    def begun(self, *, looks: bool = False, bulk: Sequence[Bulk] = ()) -> Connection:
        """A connection with a transaction begun; one to a server that is being restarted waits."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return super().begun(looks=looks, bulk=bulk)
            except DBAPIError as error:
                if time.monotonic() > deadline or not is_away(error.orig):
                    raise
            heartbeat.beat()  # the wait has a limit
            time.sleep(_PAUSE)

    def size(self) -> int:
        """Bytes of the database."""
        with self.looking() as connection:
            query = "SELECT pg_database_size(current_database())"
            return int(connection.exec_driver_sql(query).scalar_one())


_known: set[PostgresAddress] = set()
"""The catalogues that this process has opened: who knows one waits for it, and others do not."""
_engines: dict[tuple[PostgresAddress, str | None, bool], Engine] = {}
_making = threading.Lock()


class _Text(StrDumper):
    """Texts without NUL, which PostgreSQL's do not hold: what programs said may have one."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd"))


class _BinaryText(StrBinaryDumper):
    """The same, in the binary format."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd"))


class _Number(psycopg.adapt.Loader):
    """Sums of whole numbers, which PostgreSQL has as decimals, as whole numbers again."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return int(text) if b"." not in text else float(text)


def connect(address: PostgresAddress, **options: Any) -> psycopg.Connection[Any]:
    """A connection of the driver's, its session set up.

    Raises:
        psycopg.Error: there is none to be had.
    """
    wanted: dict[str, Any] = {**_CONNECT, **conninfo_to_dict(address.url), **options}
    if address.password is not None:
        wanted["password"] = address.password
    connection: psycopg.Connection[Any] = psycopg.connect(**wanted)
    connection.adapters.register_dumper(str, _BinaryText)
    connection.adapters.register_dumper(str, _Text)
    connection.adapters.register_loader("numeric", _Number)
    return connection


def _engine(address: PostgresAddress, *, writing: bool) -> Engine:
    """The engine of this process for a catalogue, with its connections."""
    key = (address, address.password, writing)
    with _making:
        if key not in _engines:
            _engines[key] = _new_engine(address, writing=writing)
        return _engines[key]


def _new_engine(address: PostgresAddress, *, writing: bool) -> Engine:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(address),
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=20,
        pool_timeout=_BUSY,
        pool_pre_ping=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Any], _record: Any) -> None:
        connection.execute(_SESSION)
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not writing or connection.get_execution_options().get(LOOKS, False):
            connection.exec_driver_sql(_READS)

    return engine


def _server(address: CatalogueAddress) -> PostgresAddress:
    assert isinstance(address, PostgresAddress)
    return address


@contextlib.contextmanager
def _translated(address: CatalogueAddress) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise told(address, error.orig) from None
    except psycopg.Error as error:
        raise told(address, error) from None


def _check_server(address: PostgresAddress, connection: Connection) -> None:
    """See that a server will do.

    Raises:
        CatalogueError: it is too old, or its database has another encoding.
    """
    query = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
    number, encoding = connection.exec_driver_sql(query).one()
    if number // 10_000 < _OLDEST:
        raise CatalogueError(
            f"{address}: the server is PostgreSQL {number // 10_000}",
            hint=f"asynchy needs PostgreSQL {_OLDEST} or newer",
        )
    if encoding != "UTF8":
        raise CatalogueError(
            f"{address}: the database has the encoding {encoding}",
            hint="make one with UTF8: createdb --encoding=UTF8 --template=template0 NAME",
        )


def _names(connection: Connection) -> frozenset[str]:
    """The names of its tables and views."""
    return frozenset(map(str, connection.exec_driver_sql(_NAMES).scalars()))


@contextlib.contextmanager
def held_lock(address: PostgresAddress, number: int) -> Iterator[bool]:
    """Hold one of our locks of the whole database; False: another process has it.

    Raises:
        CatalogueError: the server cannot be asked.
    """
    with _translated(address), connect(address, autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, number)).fetchone()
        yield bool(row and row[0])
