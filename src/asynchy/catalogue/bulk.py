"""Many rows stored at once: by COPY in PostgreSQL, row by row in SQLite, which is as fast."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from asynchy.catalogue.statements import run_sql

_BATCH = 10_000
_INSERT = re.compile(r"\s*INSERT INTO (\w+) \(([^)]*)\)\s*VALUES \([?, ]*\)\s*(.*)", re.DOTALL)
_KEY = re.compile(r"ON CONFLICT \(([^)]*)\)")

Bulk = tuple[str, Sequence[Sequence[Any]]]
"""An INSERT with `?` for each value, and its rows."""


def copy_in(db: Connection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with all columns of a table, whose values are Python's."""
    names = [column.name for column in table.columns]
    if db.dialect.name == "sqlite":
        todo = iter(rows)
        while batch := list(itertools.islice(todo, _BATCH)):
            db.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in batch])
        return
    makers = [
        column.type.dialect_impl(db.dialect).bind_processor(db.dialect) for column in table.columns
    ]
    made = (
        [value if make is None else make(value) for make, value in zip(makers, row, strict=True)]
        for row in rows
    )
    _copy(db, table.name, names, made)


def stage(db: Connection, number: int, bulk: Bulk) -> list[str]:
    """Copy the rows of an INSERT into a table of this connection; the statements that take them.

    So who writes has the rows at the server before others have to wait for it. Rows with one key
    come in several statements, one after the other, as they would row by row.
    """
    statement, rows = bulk
    found = _INSERT.match(statement)
    assert found is not None, statement
    table, columns, rest = found[1], [name.strip() for name in found[2].split(",")], found[3]
    key = _KEY.search(rest)
    keys = [columns.index(name.strip()) for name in key[1].split(",")] if key else []
    staged = f"staged_{number}"
    names = ", ".join(columns)
    db.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {staged} ON COMMIT DROP AS "  # noqa: S608 - names of ours
        f"SELECT 0 AS part, {names} FROM {table} WITH NO DATA"
    )
    parts: set[int] = set()
    _copy(db, staged, ["part", *columns], _parted(rows, keys, parts))
    return [
        f"INSERT INTO {table} ({names}) SELECT {names} FROM {staged} WHERE part = {part} {rest}"  # noqa: S608
        for part in sorted(parts)
    ]


def _parted(
    rows: Iterable[Sequence[Any]], keys: Sequence[int], parts: set[int]
) -> Iterator[Sequence[Any]]:
    """Rows with the number of a part before each; in a part, no key is there twice."""
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        part = 0
        if keys:
            key = tuple(row[at] for at in keys)
            part = seen[key] = seen.get(key, -1) + 1
        parts.add(part)
        yield (part, *row)


def _copy(
    db: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    driver: Any = db.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


def run_bulk(db: Connection, bulk: Sequence[Bulk]) -> None:
    """Run inserts row by row, as SQLite does."""
    for statement, rows in bulk:
        if rows:
            run_sql(db, statement, list(rows))
