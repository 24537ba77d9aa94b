"""Links of the list of experiments: from a link to a query, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from asynchy.model.experiment_query import (
    FILTERS,
    MAX_PAGE_ROWS,
    ExperimentOrder,
    ExperimentQuery,
)

_LONGEST = 200
_LAST_PAGE = 10**7


class QueryRefused(ValueError):
    """A link asks for something that there is not; the text says what is accepted."""


def query_of(asked: Mapping[str, str]) -> ExperimentQuery:
    """The query of a link.

    Raises:
        QueryRefused: a number or an order is none.
    """
    name = asked.get("sort", ExperimentOrder.URGENCY.value)
    orders = {one.value: one for one in ExperimentOrder}
    if name.removeprefix("-") not in orders:
        raise QueryRefused(
            f"sort: accepted is one of {', '.join(orders)}, or -NAME for the reverse"
        )
    return ExperimentQuery(
        text=asked.get("q", "").strip()[:_LONGEST],
        filters={one: asked[one][:_LONGEST] for one in FILTERS if asked.get(one)},
        needs_person=asked.get("needs") == "person",
        at_risk=asked.get("at") == "risk",
        order=orders[name.removeprefix("-")],
        is_descending=name.startswith("-"),
        page=_number(asked, "page", 1, _LAST_PAGE),
        per_page=_number(asked, "per_page", 50, MAX_PAGE_ROWS),
    )


def link_of(query: ExperimentQuery, **changes: object) -> str:
    """The part of a link after the `?`; `changes` are of the query's fields."""
    wanted = replace(query, **changes)  # type: ignore[arg-type]
    usual = ExperimentQuery()
    found: dict[str, str] = {}
    if wanted.text:
        found["q"] = wanted.text
    found |= {name: wanted.filters[name] for name in FILTERS if name in wanted.filters}
    if wanted.needs_person:
        found["needs"] = "person"
    if wanted.at_risk:
        found["at"] = "risk"
    if wanted.order is not usual.order or wanted.is_descending:
        found["sort"] = f"{'-' if wanted.is_descending else ''}{wanted.order.value}"
    if wanted.page != usual.page:
        found["page"] = str(wanted.page)
    if wanted.per_page != usual.per_page:
        found["per_page"] = str(wanted.per_page)
    return urlencode(found)


def without(query: ExperimentQuery, name: str) -> str:
    """The link without a filter."""
    left = {key: value for key, value in query.filters.items() if key != name}
    return link_of(query, filters=left, page=1)


def sorted_by(query: ExperimentQuery, order: ExperimentOrder) -> str:
    """The link that sorts by a column, or the other way round if it is sorted by it already."""
    largest_first = order in (
        ExperimentOrder.SIZE, ExperimentOrder.MEASURED, ExperimentOrder.COMPLETED,
    )  # fmt: skip
    is_descending = not query.is_descending if query.order is order else largest_first
    return link_of(query, order=order, is_descending=is_descending, page=1)


def _number(asked: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = asked.get(name)
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most and len(text) < 9):
        raise QueryRefused(f"{name}: accepted is a number from 1 to {most}")
    return int(text)
