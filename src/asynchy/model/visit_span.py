"""For which time the portal is asked, and for which time its answers are known to be whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asynchy.model.policy import running_visits
from asynchy.model.visit import Beamtime, EquipmentVisits


@dataclass(frozen=True)
class Span:
    """The time for which an equipment entry's visits are known without a gap."""

    since: datetime
    until: datetime


def before(moment: datetime, days: int) -> datetime:
    """The time that many days before, or the earliest there is."""
    try:
        return moment - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def ask_since(
    beamtimes: Iterable[Beamtime], answered: datetime | None, now: datetime, days: int
) -> datetime:
    """Since when the portal must be asked about an entry, given its answers so far.

    `days` before the earliest start of a current visit, or before the end of the last span for
    which the entry was answered completely (`answered`; None: there was none), whichever is
    earlier: after an outage nothing is missing.
    """
    reference = running_visits(beamtimes, now).reference
    if answered is not None:
        reference = min(reference, answered)
    return before(reference, days)


def is_whole(answer: EquipmentVisits) -> bool:
    """Whether an answer of the portal has every visit of its time."""
    return not answer.unreadable and not answer.problem


def span_after(known: Span | None, answer: EquipmentVisits, now: datetime) -> Span | None:
    """The span that is known once an answer has come; it never gets a gap."""
    if not is_whole(answer) or answer.since is None or answer.until is None:
        return known
    end = min(answer.until, now)
    if known is None:
        return Span(answer.since, end)
    if answer.since > known.until or end < known.since:
        return known
    return Span(min(known.since, answer.since), max(known.until, end))
