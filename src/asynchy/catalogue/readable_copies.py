"""Rows of `copies` that another program wrote, and that cannot be read: left out, and named."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Connection, not_, select, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from asynchy.catalogue.schema import copies
from asynchy.model.formatting import count, escaped
from asynchy.model.verification import Level

_TIMES = ("completed", "completed_listing", "verified", "replaced", "forgotten")
_NAMED = 3


class ReadableCopy(FunctionElement[bool]):
    """Whether a row of `copies` has a path and times; each query that makes records of them asks.

    A database with strict types has no others.
    """

    type = Boolean()
    inherit_cache = True


@compiles(ReadableCopy)
def _always(_element: ReadableCopy, _compiler: Any, **_: Any) -> str:
    return "(1 = 1)"


@compiles(ReadableCopy, "sqlite")
def _in_sqlite(_element: ReadableCopy, _compiler: Any, **_: Any) -> str:
    times = (
        f"(copies.{name} IS NULL OR"
        f" substr(copies.{name}, 1, 19) IS strftime('%Y-%m-%d %H:%M:%S', copies.{name}))"
        for name in _TIMES
    )
    paths = (
        "typeof(copies.destination) = 'text' AND copies.destination LIKE '/%'"
        " AND typeof(copies.project) = 'text'"
        " AND typeof(copies.project_folder) IN ('text', 'null')"
    )
    return f"({paths} AND {' AND '.join(times)})"


def odd_copies(db: Connection) -> tuple[str, ...]:
    """A sentence for the copies that are left out, and one for those with an impossible level."""
    no_level = copies.c.level.is_not(None) & type_coerce(copies.c.level, NullType).not_in(
        [int(level) for level in Level]
    )
    found = {
        "left out, with a path or a time that is none": not_(ReadableCopy()),
        "taken as not proven, with a level that is none": no_level,
    }
    said = []
    for problem, is_odd in found.items():
        places = select(type_coerce(copies.c.destination, NullType)).where(is_odd)
        values = [escaped(repr(value), limit=60) for value in db.scalars(places)]
        if values:
            names = ", ".join(values[:_NAMED]) + (", …" if len(values) > _NAMED else "")
            said.append(f"{count(len(values), 'row')} of `copies` {problem}: {names}")
    return tuple(said)
