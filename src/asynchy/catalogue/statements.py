"""SQL of ours as both databases take it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import datetime
from string import ascii_letters
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    CursorResult,
    Float,
    Integer,
    Text,
    case,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from asynchy.model.epn import MOST_DIGITS, MOST_LETTERS

__all__ = [
    "QUARTER",
    "find_byte",
    "greater",
    "lesser",
    "names_epn",
    "quarter_of",
    "run_sql",
    "seconds_between",
    "server_time",
    "upsert",
    "year_of",
]
_Rows = CursorResult[*tuple[Any, ...]]
QUARTER = 900
"""Seconds of a quarter of an hour: all time zones differ by a number of them."""
_PLACE = re.compile(r"\?|:([a-z]+)")


def run_sql(db: Connection, statement: str, values: Any = ()) -> _Rows:
    """Run a statement with SQLite's placeholders, `?` or `:name`, as the driver takes it.

    `values`: a row, a mapping, or a list of rows. It goes past SQLAlchemy's own compiler, which
    takes longer for a row than SQLite does to store it.
    """
    if db.dialect.name != "sqlite":
        statement = _translated(statement)
    return db.exec_driver_sql(statement, values)


@functools.cache
def _translated(statement: str) -> str:
    """Psycopg's placeholders in the place of SQLite's. Ours have neither `%` nor `?` in a text."""
    return _PLACE.sub(lambda found: f"%({found[1]})s" if found[1] else "%s", statement)


def server_time(db: Connection) -> datetime | None:
    """The time by the clock of the database's server; None: it has none of its own."""
    if db.dialect.name == "sqlite":
        return None
    found: datetime = db.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return found


class upsert(Insert):  # noqa: N801 - a function, as `sqlalchemy.insert` is
    """An insert with what to do where the row is there, for both databases.

    SQLAlchemy's insert for PostgreSQL would do for both, but takes long to import.
    """

    inherit_cache = True

    def on_conflict_do_update(self, *args: Any, **kw: Any) -> upsert:
        """As SQLite's."""
        return _for_both(super().on_conflict_do_update(*args, **kw))

    def on_conflict_do_nothing(self, *args: Any, **kw: Any) -> upsert:
        """As SQLite's."""
        return _for_both(super().on_conflict_do_nothing(*args, **kw))


def _for_both(statement: upsert) -> upsert:
    """PostgreSQL's compiler asks for a constraint, which SQLite's clauses never name."""
    statement._post_values_clause.constraint_target = None  # type: ignore[union-attr]
    return statement


def greater(one: ColumnElement[Any], other: Any) -> ColumnElement[Any]:
    """The greater of two values that are not null."""
    return case((one > other, one), else_=other)


def lesser(one: ColumnElement[Any], other: Any) -> ColumnElement[Any]:
    """The lesser of two values that are not null."""
    return case((one < other, one), else_=other)


class quarter_of(FunctionElement[int]):  # noqa: N801 - named as a function of SQL
    """The quarter of an hour of a time, counted since 1970: the day in any time zone follows."""

    type = BigInteger()
    inherit_cache = True


class year_of(FunctionElement[str]):  # noqa: N801
    """The year of a time in UTC, as a text."""

    type = Text()
    inherit_cache = True


class seconds_between(FunctionElement[float]):  # noqa: N801
    """Seconds from one time to another."""

    type = Float()
    inherit_cache = True


class find_byte(FunctionElement[int]):  # noqa: N801
    """Where a byte is in bytes, from 1; 0: it is not in them."""

    type = Integer()
    inherit_cache = True


class names_epn(FunctionElement[bool]):  # noqa: N801
    """Whether a column has an EPN, as `Epn.parse` sees it; each query that makes one asks."""

    type = Boolean()
    inherit_cache = True


def _compiled(function: type[FunctionElement[Any]], sqlite: str, postgresql: str) -> None:
    """Have a function written so, with its arguments as {0} and {1}."""

    def writer(template: str) -> Callable[..., str]:
        def write(element: FunctionElement[Any], compiler: Any, **kw: Any) -> str:
            return template.format(*(compiler.process(one, **kw) for one in element.clauses))

        return write

    compiles(function, "sqlite")(writer(sqlite))
    compiles(function, "postgresql")(writer(postgresql))


_compiled(
    quarter_of,
    f"(CAST(strftime('%s', {{0}}) AS INTEGER) / {QUARTER})",
    f"CAST(floor(extract(epoch FROM {{0}}) / {QUARTER}) AS BIGINT)",
)
_compiled(year_of, "strftime('%Y', {0})", "to_char({0}, 'YYYY')")
_compiled(
    seconds_between,
    "((julianday({1}) - julianday({0})) * 86400)",
    "CAST(extract(epoch FROM {1} - {0}) AS DOUBLE PRECISION)",
)
_compiled(find_byte, "instr({0}, {1})", "position({1} IN {0})")
_DIGITS = f"rtrim(trim({{0}}), '{ascii_letters}')"
_compiled(
    names_epn,
    f"(typeof({{0}}) = 'text' AND length({_DIGITS}) BETWEEN 1 AND {MOST_DIGITS}"
    f" AND {_DIGITS} NOT GLOB '*[^0-9]*'"
    f" AND length(trim({{0}})) - length({_DIGITS}) <= {MOST_LETTERS})",
    f"(trim({{0}}) ~ '^[0-9]{{{{1,{MOST_DIGITS}}}}}[A-Za-z]{{{{0,{MOST_LETTERS}}}}}$')",
)
