"""How many bytes a second the transfers may take, by the day and the time of day. No I/O.

Days and hours are those of the clock on the wall, in the local time zone of this machine. So a
change to or from summer time needs no rule: the hour that comes twice has the same limit twice,
and one that is skipped is skipped.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""As `struct_time` counts them: Monday is 0."""
_MINUTES_PER_DAY = 24 * 60
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)


def parse_days(text: str) -> frozenset[int]:
    """The days of a text such as `mon-fri` or `sat,sun`; Monday is 0.

    A span may lead over the end of the week: `sat-mon`.

    Raises:
        ValueError: the text has another form.
    """
    match: set[int] = set()
    for item in text.lower().replace(" ", "").split(","):
        first, _, last = item.partition("-")
        begin = DAYS.index(first)
        end = DAYS.index(last) if "-" in item else begin
        match |= {day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1)}
    return frozenset(match)


def parse_hours(text: str) -> tuple[int, int]:
    """Begin and end of a text such as `08:00-18:00`, in minutes after midnight.

    Raises:
        ValueError: the text has another form, or the end is the begin.
    """
    begin_text, _, end_text = text.replace(" ", "").partition("-")
    begin, end = _minutes(begin_text), _minutes(end_text)
    if begin in {end, _MINUTES_PER_DAY}:
        raise ValueError("the span is empty")
    return begin, end


def _minutes(text: str) -> int:
    if (match := _TIME.fullmatch(text)) is None:
        raise ValueError("not a time of day")
    return int(match[1]) * 60 + int(match[2]) if match[1] else _MINUTES_PER_DAY


@dataclass(frozen=True)
class BandwidthSpan:
    """A limit, and when it holds."""

    limit: int
    """Bytes a second."""
    days: frozenset[int] = frozenset(range(7))
    """On which the span begins; Monday is 0."""
    begin: int = 0
    """Minutes after midnight."""
    end: int = _MINUTES_PER_DAY
    """Minutes after midnight, exclusive; not after the begin: on the next day."""

    def includes(self, local: time.struct_time) -> bool:
        """Whether the limit holds at a local time."""
        minute = local.tm_hour * 60 + local.tm_min
        today, yesterday = local.tm_wday in self.days, (local.tm_wday - 1) % 7 in self.days
        if self.begin < self.end:
            return today and self.begin <= minute < self.end
        return (today and minute >= self.begin) or (yesterday and minute < self.end)


@dataclass(frozen=True)
class BandwidthTimetable:
    """The limits of a week."""

    spans: tuple[BandwidthSpan, ...]

    def limit_at(self, local: time.struct_time) -> int | None:
        """The limit at a local time, in bytes a second; None: no limit.

        If more than one span includes the time, the smallest limit holds.
        """
        return min((span.limit for span in self.spans if span.includes(local)), default=None)

    def shared(self, hosts: int) -> BandwidthTimetable:
        """What each of so many hosts may take, so that all together keep to it."""
        return BandwidthTimetable(
            tuple(replace(span, limit=max(1, span.limit // hosts)) for span in self.spans)
        )


def constant(limit: int) -> BandwidthTimetable:
    """The same limit at any time, in bytes a second."""
    return BandwidthTimetable((BandwidthSpan(limit),))
