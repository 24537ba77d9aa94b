"""The plots of the pages, from the same values as the texts beside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from markupsafe import Markup

from asynchy.model.attempt import Verdict
from asynchy.model.formatting import count, size
from asynchy.web.history import SpanTotals
from asynchy.web.plots import Bar, Plot, drawn
from asynchy.web.views import ExperimentView, LiveView

_FAILED = frozenset({Verdict.FAILED, Verdict.DIFFERENT, Verdict.INTERRUPTED, Verdict.CHANGED})
_ATTEMPTS = 60
"""The latest of an experiment, whose rates are drawn."""
_DAYS_AHEAD = 62


def hour(live: LiveView) -> Markup | None:
    """The rate of the last hour, a bar a minute; None: nothing arrived."""
    if not live.hour_bytes:
        return None
    bars = [
        Bar(f"{one.at.astimezone():%H:%M}", one.rate, _rate(one.rate), more=(size(one.bytes),))
        for one in live.samples
    ]
    most = _rate(max(one.rate for one in live.samples))
    return drawn(
        Plot(
            "Rate in the last hour, a bar for each minute",
            bars,
            _scale_rate,
            ("Minute", "Rate", "Arrived"),
            f"{size(live.hour_bytes)} arrived; at most {most}.",
        )
    )


def spans(found: Sequence[SpanTotals], step: str) -> dict[str, Markup | None]:
    """What came home, copies completed, attempts failed: a plot of each; None: there were none."""
    head = step.capitalize()
    moved = [
        Bar(one.label, one.bytes, size(one.bytes),
            more=(f"{one.files:,}", _rate(one.rate) if one.bytes else "-"))
        for one in found
    ]  # fmt: skip
    completed = [
        Bar(one.label, one.completed, count(one.completed, "copy", "copies")) for one in found
    ]
    failed = [Bar(one.label, one.failed, count(one.failed, "attempt"), "wrong") for one in found]
    return {
        "bytes": _spans("Bytes that came home", moved, _scale,
                        (head, "Came home", "Files", "Rate while transfers ran")),
        "completed": _spans("Copies that were completed", completed, _number,
                            (head, "Completed")),
        "failed": _spans("Attempts that failed", failed, _number, (head, "Failed")),
    }  # fmt: skip


def _spans(about: str, bars: list[Bar], number: Any, columns: tuple[str, ...]) -> Markup | None:
    most = max(bars, key=lambda bar: bar.value)
    if not most.value:
        return None
    return drawn(Plot(about, bars, number, columns, f"At most {most.text} ({most.label})."))


def attempt_rates(view: ExperimentView) -> Markup | None:
    """The rate of each attempt that moved something; None: fewer than two did."""
    bars = []
    for _, one in view.attempts:
        seconds = (one.ended - one.started).total_seconds()
        if one.bytes and seconds > 0:
            rate = one.bytes / seconds
            kind = "wrong" if one.verdict in _FAILED else ""
            label = f"{one.ended.astimezone():%Y-%m-%d %H:%M}"
            more = (size(one.bytes), one.verdict.value)
            bars.append(Bar(label, rate, f"{_rate(rate)}", kind, more))
    if len(bars) < 2:
        return None
    columns = ("Ended", "Rate", "Moved", "What came of it")
    summary = "Attempts that failed have another colour; the table names them."
    return drawn(Plot("Rate of each attempt", bars[-_ATTEMPTS:], _scale_rate, columns, summary))


def backlog(expected: Mapping[str, Any], now: datetime) -> Markup | None:
    """What has to be at home by each day, beside what comes home by then at the present rate.

    None: of nothing that is due is it known until when the facility keeps it.
    """
    by_day = {date.fromisoformat(one["day"]): one["bytes"] for one in expected["deadlines"]}
    if not any(by_day.values()):
        return None
    today = now.astimezone().date()
    last = min(max(*by_day, today + timedelta(days=6)), today + timedelta(days=_DAYS_AHEAD))
    rate = expected["rate"]
    bars, line = [], []
    owed = sum(size_ for day, size_ in by_day.items() if day < today)
    for ahead in range((last - today).days + 1):
        day = today + timedelta(days=ahead)
        new = by_day.get(day, 0)
        owed += new
        ends = datetime.combine(day + timedelta(days=1), time()).astimezone()
        comes = (rate or 0.0) * (ends - now).total_seconds()
        is_late = rate is not None and owed > comes
        line.append(comes)
        can = size(int(comes)) if rate else "?"
        hover = f"{size(owed)} must be at home" + (f", {can} can be" if rate else "")
        kind = "wrong" if is_late else ""
        bars.append(Bar(day.isoformat(), owed, size(owed), kind, (size(new), can), hover))
    if rate is None:
        summary = "At which rate data come home is not known: nothing came lately."
    elif any(bar.kind for bar in bars):
        summary = (
            "Bars above the dashed line come too late: more must be at home by then than can be, "
            "at the present rate."
        )
    else:
        summary = (
            "All bars are below the dashed line, which is what can be at home by then, at the "
            "present rate: all of it comes in time."
        )
    columns = ("Day", "Must be at home by then", "Of that, new on the day", "Can be by then")
    about = "Bytes that must be at home by each day, and a line of what can be at the present rate"
    return drawn(Plot(about, bars, _scale, columns, summary, line if rate else ()))


def _rate(value: float) -> str:
    return f"{size(int(value))}/s"


def _scale(value: float) -> str:
    """A size without needless zeros: `4 MB`."""
    amount, _, unit = size(int(value)).partition(" ")
    return f"{float(amount):g} {unit}"


def _scale_rate(value: float) -> str:
    return f"{_scale(value)}/s"


def _number(value: float) -> str:
    return f"{value:,.0f}"
