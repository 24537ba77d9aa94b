"""What PostgreSQL's errors mean for people, and for who may try again."""

from __future__ import annotations

import psycopg
from psycopg import errors

from asynchy.errors import CatalogueError, CatalogueUnreachable
from asynchy.model.catalogue_address import CatalogueAddress

_AWAY = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ConnectionException,
    errors.IdleInTransactionSessionTimeout,
)
_WAIT = "see whether the server runs; what was not stored yet is done again, nothing is lost"
_REFUSALS = {
    "password authentication failed": "put the right password into `catalogue-password`, or "
    "into .pgpass (mode 0600)",
    "no password supplied": "put the password into `catalogue-password`, or into .pgpass "
    "(mode 0600)",
    "no pg_hba.conf entry": "let pg_hba.conf of the server admit this machine and user",
    "authentication failed": "see pg_hba.conf of the server, and the user in `catalogue`",
    'role "': "make the role first: createuser NAME",
    'database "': "make the database first: createdb --owner=ROLE NAME",
    "resolve host": "see the host in `catalogue`",
    "translate host name": "see the host in `catalogue`",
    "certificate": "see sslmode and sslrootcert in `catalogue`",
    "too many clients": "raise max_connections of the server, or use fewer processes",
    "remaining connection slots": "raise max_connections of the server, or use fewer processes",
}
"""What to do, by what is said where no connection is made: those errors have no code."""
_KINDS: tuple[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], str], ...] = (
    (errors.DiskFull, "make room on the server's disk; nothing is lost"),
    (errors.LockNotAvailable, "another process keeps it locked; try again"),
    (
        (errors.SerializationFailure, errors.DeadlockDetected, errors.QueryCanceled),
        "another program works on the same tables; try again",
    ),
    (
        errors.InsufficientPrivilege,
        "make the role of `catalogue` the owner of the database and its tables: "
        "ALTER DATABASE NAME OWNER TO ROLE",
    ),
    (errors.ReadOnlySqlTransaction, "the server is a standby; name the primary in `catalogue`"),
    (errors.TooManyConnections, "raise max_connections of the server, or use fewer processes"),
    (
        errors.ProgramLimitExceeded,
        "a path of more than 2,700 bytes does not fit into PostgreSQL's index; keep this catalogue "
        "in SQLite, or leave the experiment out",
    ),
)


def is_away(error: BaseException | None) -> bool:
    """Whether the server is not there, or starts or stops: it may be there again soon."""
    if isinstance(error, _AWAY):
        return True
    if not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None:
        return False
    return not any(word in str(error) for word in _REFUSALS)


def told(address: CatalogueAddress, error: BaseException | None) -> CatalogueError:
    """An error of the driver as ours."""
    text = _said(error)
    if is_away(error):
        return CatalogueUnreachable(f"{address}: {text}", hint=_WAIT)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        hints = [hint for word, hint in _REFUSALS.items() if word in text]
    else:
        hints = [hint for kind, hint in _KINDS if isinstance(error, kind)]
    return CatalogueError(f"{address}: {text}", hint=hints[0] if hints else None)


def _said(error: BaseException | None) -> str:
    """What the server or the driver said, on one line."""
    said = " ".join(str(error).split())
    return said.rpartition("FATAL: ")[2].strip() or said
