"""What came home in days, weeks and months, and what the facility deletes next: for pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from asynchy.model.experiment_query import ExperimentOrder, ExperimentQuery, RiskTotals
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.web.snapshot import StateView

STEPS = ("day", "week", "month")
_SHOWN = {"day": 30, "week": 26, "month": 13}
_NAMED = 8


@dataclass
class SpanTotals:
    """What attempts came to in a day, week or month."""

    label: str
    bytes: int = 0
    files: int = 0
    completed: int = 0
    failed: int = 0
    seconds: int = 0

    @property
    def rate(self) -> float:
        """Bytes a second while attempts ran, those at the same time counted each."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Deadlines:
    """What the facility deletes next, of what is not safe at home."""

    bands: tuple[RiskTotals, ...]
    next: tuple[ExperimentSummary, ...]
    """The first of them."""

    @property
    def experiments(self) -> int:
        """All that are at risk."""
        return sum(one.experiments for one in self.bands)

    @property
    def past(self) -> int:
        """Those that the facility may have deleted already."""
        return self.bands[0].experiments

    @property
    def soon(self) -> int:
        """Those that it may delete within 7 days."""
        return self.bands[1].experiments


def spans(days: Sequence[dict[str, Any]], step: str, today: date) -> list[SpanTotals]:
    """The latest spans up to today, the earliest first, also those in which nothing came."""
    labels = [_label(day, step) for day in _days_back(today, step)]
    found = {label: SpanTotals(label) for label in labels}
    for one in days:
        span = found.get(_label(date.fromisoformat(one["day"]), step))
        if span is None:
            continue
        for name in ("bytes", "files", "completed", "failed", "seconds"):
            setattr(span, name, getattr(span, name) + one[name])
    return list(found.values())


def _days_back(today: date, step: str) -> list[date]:
    if step != "month":
        length = timedelta(days=1 if step == "day" else 7)
        return [today - number * length for number in range(_SHOWN[step] - 1, -1, -1)]
    months = [today.year * 12 + today.month - 1 - back for back in range(_SHOWN[step] - 1, -1, -1)]
    return [date(number // 12, number % 12 + 1, 1) for number in months]


def _label(day: date, step: str) -> str:
    if step == "day":
        return day.isoformat()
    if step == "month":
        return f"{day:%Y-%m}"
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def deadlines(states: StateView | None) -> Deadlines | None:
    """What the facility deletes next; None: no states are known."""
    if states is None:
        return None
    query = ExperimentQuery(at_risk=True, order=ExperimentOrder.KEPT_UNTIL, per_page=_NAMED)
    page = states.snapshot.page(query)
    return Deadlines(tuple(states.snapshot.at_risk(datetime.now(UTC))), page.rows)
