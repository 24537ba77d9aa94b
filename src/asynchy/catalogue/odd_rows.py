"""Rows with an EPN that is none: another program wrote them. Each is left out, and named."""

from __future__ import annotations

from sqlalchemy import select

from asynchy.catalogue.database import Database
from asynchy.catalogue.readable_copies import odd_copies
from asynchy.catalogue.schema import due, experiments, ignore_entries, reported, visits
from asynchy.catalogue.statements import names_epn
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.formatting import count, escaped

_TABLES = (experiments, visits, due, reported, ignore_entries)
_NAMED = 3


def odd_rows(path: CatalogueAddress) -> tuple[str, ...]:
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
    with database.looking() as db:
        return (*said, *odd_copies(db))
