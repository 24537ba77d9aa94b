"""Rows with an EPN that is none: another program wrote them. Each is left out, and named."""

from __future__ import annotations

from pathlib import Path
from string import ascii_letters
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.sql.elements import ColumnElement

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import due, experiments, ignore_entries, reported, visits
from asynchy.model.epn import MOST_DIGITS, MOST_LETTERS
from asynchy.model.formatting import count, escaped

_TABLES = (experiments, visits, due, reported, ignore_entries)
_NAMED = 3


def names_epn(column: Any) -> ColumnElement[bool]:
    """Whether a column has an EPN, as `Epn.parse` sees it; each query that makes one asks."""
    text = func.trim(column)
    digits = func.rtrim(text, ascii_letters)
    return and_(
        func.typeof(column) == "text",
        func.length(digits).between(1, MOST_DIGITS),
        digits.op("NOT GLOB")("*[^0-9]*"),
        func.length(text) - func.length(digits) <= MOST_LETTERS,
    )


def odd_rows(path: Path) -> tuple[str, ...]:
    """For each table with rows that are left out, a sentence that names the first of them.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    said = []
    database = Database.preview(path)
    for table in _TABLES:
        odd = select(table.c.epn).where(~names_epn(table.c.epn)).order_by(table.c.epn)
        with database.looking() as db:
            values = [escaped(repr(value), limit=60) for value in db.scalars(odd)]
        if values:
            number = count(len(values), "row")
            names = ", ".join(values[:_NAMED]) + (", …" if len(values) > _NAMED else "")
            said.append(f"{number} of `{table.name}` left out, with an EPN that is none: {names}")
    return tuple(said)
