"""Ask the portal for the visits that a cycle needs, every equipment entry by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from asynchy.config import EquipmentEntry
from asynchy.domain import pulse
from asynchy.domain.text import count, duration
from asynchy.domain.visit import EquipmentVisits
from asynchy.plan.policy import CURRENT
from asynchy.plan.visit_window import ask_since
from asynchy.service.cycle_site import CycleSite
from asynchy.service.heard import NAMED, Heard
from asynchy.service.tasks import all_at_once
from asynchy.service.visits import store_visits

log = logging.getLogger(__name__)

_AHEAD = 2 * CURRENT
"""How far ahead visits are asked for. Within this time less `CURRENT` the answer may serve again,
when a cycle that was not complete is tried again."""
_ROUNDS = 5
SKEW = 60.0
"""Seconds by which this clock and the portal's may differ."""


def ask_visits(site: CycleSite, now: datetime) -> tuple[EquipmentVisits, ...]:
    """What the portal says of every equipment entry; an entry that fails carries its problem.

    First the current visits, then all back to `visit-day-range` days before the earliest start
    of a current one, or before the end of the last span for which the entry was answered
    completely, whichever is earlier: after an outage nothing is missing, and an entry that never
    answers costs the others nothing. The second question reaches up to the present: a portal that
    filters by start shows a visit that has been running for days only there, and then the range
    moves back. What was told is stored, if we write.

    Raises:
        CatalogueError: it cannot be stored.
        Stopped: a stop was asked for meanwhile.
    """
    entries = [_heard_before(site, entry, now) for entry in site.settings.equipment]
    answered = site.catalogue.overview.answered_until()
    _reach_back(site, [(entry, now) for entry in entries])
    for _ in range(_ROUNDS):
        known = [beamtime for entry in entries for beamtime in entry.beamtimes()]
        days = site.settings.visit_day_range
        further = [
            (entry, ask_since(known, answered.get(entry.entry.id), now, days)) for entry in entries
        ]
        if all(entry.since <= since or entry.failure for entry, since in further):
            break
        _reach_back(site, further)
    else:
        for entry in entries:
            entry.failure = entry.failure or f"equipment {entry.entry.id}: visits without end"
    doubt_clock(entries, site.portal.clock_offset)
    site.heard.update({entry.entry.id: entry for entry in entries if not entry.problem})
    for entry in entries:
        _log(entry)
    answers = tuple(entry.told() for entry in entries)
    store_visits(site, answers)
    return answers


def _heard_before(site: CycleSite, entry: EquipmentEntry, now: datetime) -> Heard:
    """What was heard of the entry in an earlier try of this cycle, else nothing yet."""
    before = site.heard.get(entry.id)
    if before is not None and before.entry == entry and before.until >= now + CURRENT:
        return before
    until = now + _AHEAD
    return Heard(entry, site.settings.beamline_of(entry), since=until, until=until)


def _reach_back(site: CycleSite, further: Sequence[tuple[Heard, datetime]]) -> None:
    def task(entry: Heard, since: datetime) -> Callable[[], None]:
        return lambda: entry.reach_back(site.portal, since)

    def on_tick() -> None:  # each request has a limit
        site.board.beat()
        pulse.beat()

    all_at_once([task(*each) for each in further], site.stop, on_tick)


def apart(offset: float) -> str:
    """By how much the portal's clock is ahead of ours (in seconds), in words."""
    return f"{duration(abs(offset))} {'behind' if offset > 0 else 'ahead of'} the portal's"


def doubt_clock(entries: Sequence[Heard], offset: float | None) -> None:
    """By a wrong clock it is not known which visits are running, nor for when the answers are.

    `offset`: seconds by which the portal's clock is ahead of ours; None: it is not known.
    """
    if offset is None or abs(offset) <= SKEW:
        return
    for entry in entries:
        entry.failure = entry.failure or (
            f"equipment {entry.entry.id}: this machine's clock is {apart(offset)}"
            " (have it set: chrony, ntpd)"
        )


def _log(entry: Heard) -> None:
    number = entry.entry.id
    if entry.problem:
        log.error("%s", entry.problem)
    else:
        log.info(
            "portal: equipment %d (%s): %s",
            number,
            entry.beamline,
            count(len(entry.visits), "visit"),
        )
    for doubt in entry.doubts[NAMED:]:
        log.error("equipment %d: %s", number, doubt)
