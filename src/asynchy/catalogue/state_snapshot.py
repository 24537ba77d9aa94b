"""The states of all experiments at one moment, in a small database of their own.

To derive the states of 100,000 experiments takes seconds and hundreds of MB. Who shows them has
them computed now and then by another process (`web/refresh.py`), which writes this file, and reads
a page at a time out of it. It is never changed: a newer one takes its place.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Engine,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    case,
    create_engine,
    event,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from asynchy.catalogue.column_types import UtcDateTime
from asynchy.errors import CatalogueError
from asynchy.model.experiment_query import (
    FILTERS,
    NO_VALUE,
    RISK_BANDS,
    ExperimentOrder,
    ExperimentQuery,
    GroupTotals,
    RiskTotals,
)
from asynchy.model.experiment_summary import ExperimentSummary

_BATCH = 5000
_MOST_KNOWN = 200
_TYPES: dict[str, Any] = {
    "str": Text,
    "int": BigInteger,
    "bool": Boolean,
    "datetime": UtcDateTime,
}
_metadata = MetaData()
_rows = Table(
    "experiments",
    _metadata,
    Column("number", Integer, primary_key=True),  # in the order of urgency
    Column("search", Text, nullable=False),
    *(
        Column(one.name, _TYPES[str(one.type).removesuffix(" | None")])
        for one in fields(ExperimentSummary)
    ),
)
_facts = Table("facts", _metadata, Column("value", Text, nullable=False))
_SEARCHED = ("epn", "title", "person", "project", "beamline")
_indexes = [
    Index(f"ix_{name}", _rows.c[name])
    for name in ("epn", "state", "project", "measured", "bytes", "kept_until", "completed")
]
_indexes.append(Index("ix_by_epn", _rows.c.proposal, _rows.c.epn, _rows.c.beamline))
"""Made last: that takes less time."""


@dataclass(frozen=True)
class SummaryPage:
    """Some of the experiments that a query asks for."""

    rows: tuple[ExperimentSummary, ...]
    total: int
    """How many there are on all pages."""
    page: int
    pages: int
    bytes: int
    """Of all of them at the facility, as far as their sizes are known."""


def write_state_snapshot(
    path: Path, rows: Iterable[ExperimentSummary], facts: dict[str, Any]
) -> None:
    """Write the file, `rows` in the order of urgency; `facts` is what else was found out, as JSON.

    Raises:
        CatalogueError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    engine = _engine(path, "rwc")
    try:
        with engine.begin() as db:
            db.execute(CreateTable(_rows))
            db.execute(CreateTable(_facts))
            numbered = ({**vars(row), "search": _searched(row)} for row in rows)
            while batch := list(itertools.islice(numbered, _BATCH)):
                db.execute(insert(_rows), batch)
            db.execute(insert(_facts).values(value=json.dumps(facts)))
            for index in _indexes:
                index.create(db)
    except DatabaseError as error:
        raise CatalogueError(
            f"the states of experiments cannot be written to {path}: {error.orig}",
            hint="make room there, or name another folder in TMPDIR",
        ) from None


class StateSnapshot:
    """Reads the file. All methods raise `CatalogueError` if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path, "ro")
        self._known: dict[str, Any] = {}
        """Answers that were found already: the file never changes."""

    def facts(self) -> dict[str, Any]:
        """What was found out besides."""
        found: dict[str, Any] = json.loads(self._all(select(_facts.c.value))[0][0])
        return found

    def page(self, query: ExperimentQuery) -> SummaryPage:
        """One page of what a query asks for; the last one if it asks for a later one."""
        wanted = _wanted(query)
        totals = select(func.count(), func.coalesce(func.sum(_rows.c.bytes), 0)).where(wanted)
        total, size = self._once(totals)[0]
        pages = max(1, -(-total // query.per_page))
        page = min(query.page, pages)
        some = _selected(query).limit(query.per_page).offset((page - 1) * query.per_page)
        rows = tuple(map(_summary, self._all(some)))
        return SummaryPage(rows, total, page, pages, int(size))

    def all(self, query: ExperimentQuery) -> Iterator[ExperimentSummary]:
        """All that a query asks for, whatever the page; a few at a time in memory."""
        with self._engine.connect() as db:
            found = db.execution_options(yield_per=_BATCH).execute(_selected(query))
            yield from map(_summary, found)

    def of_epn(self, epn: str) -> list[ExperimentSummary]:
        """The experiments of an EPN, by beamline."""
        query = select(_rows).where(_rows.c.epn == epn).order_by(_rows.c.beamline)
        return list(map(_summary, self._all(query)))

    def counts(self, name: str) -> dict[str, int]:
        """By value of a column how many experiments there are, the most first."""
        column = _rows.c[name]
        number = func.count()
        grouped = select(column, number).group_by(column).order_by(number.desc(), column)
        return {value: found for value, found in self._once(grouped) if value}

    def totals(self, name: str) -> list[GroupTotals]:
        """What experiments come to by value of a column, the most at home first."""
        column = _rows.c[name]
        left = ~_rows.c.is_settled
        size = func.coalesce(func.sum(_rows.c.home_bytes), 0)
        rest = func.coalesce(func.sum(case((left, _rows.c.bytes))), 0)
        query = select(
            column,
            func.count(),
            func.coalesce(func.sum(case((_rows.c.is_settled, 1))), 0),
            func.coalesce(func.sum(_rows.c.home_files), 0),
            size,
            rest,
            func.coalesce(func.sum(case((and_(left, _rows.c.bytes.is_(None)), 1))), 0),
        )
        ordered = query.group_by(column).order_by(size.desc(), rest.desc(), column)
        return [GroupTotals(*map(_plain, row)) for row in self._once(ordered)]

    def at_risk(self, now: datetime) -> list[RiskTotals]:
        """What the facility may delete before it is safe at home, by the days that are left.

        To the minute: what was found out is kept for so long.
        """
        now = now.replace(second=0, microsecond=0)
        key = f"at risk, {now.isoformat()}"
        if key not in self._known:
            self._known[key] = self._at_risk(now)
        return list(self._known[key])

    def _at_risk(self, now: datetime) -> list[RiskTotals]:
        columns = _rows.c
        bands: list[tuple[ColumnElement[bool], int]]
        bands = [(columns.kept_until.is_(None), len(RISK_BANDS))]
        bands += [
            (columns.kept_until <= now + timedelta(days=days), number)
            for number, days in enumerate(RISK_BANDS)
        ]
        band = case(*bands, else_=len(RISK_BANDS) + 1)
        size = func.coalesce(func.sum(columns.bytes), 0)
        query = select(band, func.count(), size, func.count(columns.bytes))
        found = {
            row[0]: RiskTotals(row[0], row[1], int(row[2]), row[1] - row[3])
            for row in self._all(query.where(columns.risk != "").group_by(band))
        }
        return [found.get(one, RiskTotals(one, 0, 0, 0)) for one in range(len(RISK_BANDS) + 2)]

    def damaged_files(self) -> int:
        """Files at home that are missing or damaged."""
        return int(self._once(select(func.coalesce(func.sum(_rows.c.damaged), 0)))[0][0])

    def oldest_obligation(self) -> datetime | None:
        """When the oldest experiment was measured that is due or has no project; None: none is."""
        owed = _rows.c.state.in_(("due", "unowned"))
        oldest = func.min(_rows.c.measured, type_=UtcDateTime)
        found: datetime | None = self._once(select(oldest).where(owed))[0][0]
        return found

    def _once(self, query: Select[Any]) -> list[Any]:
        """What a query finds; kept, if it is asked again."""
        key = str(query.compile(compile_kwargs={"literal_binds": True}))
        if key not in self._known:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._all(query)
        return list(self._known[key])

    def warm_up(self) -> None:
        """Find what most pages ask for."""
        self.page(ExperimentQuery())
        for name in FILTERS:
            self.counts(name)
        for name in ("project", "beamline"):
            self.totals(name)

    def _all(self, query: Select[Any]) -> list[Any]:
        try:
            with self._engine.connect() as db:
                return list(db.execute(query).all())
        except DatabaseError as error:
            raise CatalogueError(
                f"the states of experiments cannot be read: {self.path}: {error.orig}",
                hint="start `asynchy web` again",
            ) from None


def _searched(row: ExperimentSummary) -> str:
    return " ".join(getattr(row, name) for name in _SEARCHED).casefold()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


def _selected(query: ExperimentQuery) -> Select[Any]:
    return select(_rows).where(_wanted(query)).order_by(*_order(query))


def _wanted(query: ExperimentQuery) -> ColumnElement[bool]:
    columns = _rows.c
    found: list[ColumnElement[bool]] = [columns.number > 0]
    for word in query.text.split():
        found.append(func.instr(columns.search, word.casefold()) > 0)
    for name, value in query.filters.items():
        found.append(columns[name] == ("" if value == NO_VALUE else value))
    if query.needs_person:
        found.append(or_(columns.cause != "", columns.attention != ""))
    if query.at_risk:
        found.append(columns.risk != "")
    return and_(*found)


def _order(query: ExperimentQuery) -> tuple[Any, ...]:
    columns = _rows.c
    by_epn = (columns.proposal, columns.epn, columns.beamline)
    if query.order is ExperimentOrder.URGENCY:
        return (columns.number,)
    if query.order is ExperimentOrder.EPN:
        return tuple(one.desc() for one in by_epn) if query.is_descending else by_epn
    name = {ExperimentOrder.SIZE: "bytes"}.get(query.order, query.order.value)
    column = columns[name]
    # What is not known comes last; descending, it does so by itself, and the index can be used.
    ordered = column.desc() if query.is_descending else column.asc().nulls_last()
    return (ordered, *by_epn)


def _summary(row: Any) -> ExperimentSummary:
    return ExperimentSummary(*row[2:])


def _engine(path: Path, mode: str) -> Engine:
    engine = create_engine(
        f"sqlite:///file:{quote(str(path))}?mode={mode}&uri=true", poolclass=NullPool
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        if mode == "rwc":  # nobody reads it before it is whole, and then it is renamed
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
        else:
            connection.execute("PRAGMA query_only=ON")

    return engine


def as_json(row: ExperimentSummary) -> dict[str, Any]:
    """A row as JSON has it; empty texts are null."""
    found = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(row).items()
    }
    return {name: None if value == "" else value for name, value in found.items()}
