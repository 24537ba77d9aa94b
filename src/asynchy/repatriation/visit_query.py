"""Ask the portal for the visits that a cycle needs, every equipment entry by itself."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from asynchy.config import EquipmentEntry
from asynchy.errors import PortalError
from asynchy.facility.portal.visit_window import MAX_NAMED, VisitWindow, credentials_of
from asynchy.model import heartbeat
from asynchy.model.clock import apart, is_wrong
from asynchy.model.formatting import count
from asynchy.model.policy import CURRENT
from asynchy.model.visit import EquipmentVisits
from asynchy.model.visit_span import ask_since
from asynchy.repatriation.visits import store_visits
from asynchy.runtime.cycle_context import CycleContext
from asynchy.runtime.log_marks import IN_REPORT
from asynchy.runtime.threads import all_at_once

log = logging.getLogger(__name__)

_AHEAD = 2 * CURRENT
"""How far ahead visits are asked for. Within this time less `CURRENT` the answer may serve again,
when a cycle that was not complete is tried again."""
_MAX_ROUNDS = 5
_YEAR = timedelta(days=366)


def ask_visits(context: CycleContext, now: datetime) -> tuple[EquipmentVisits, ...]:
    """The portal's answers for every equipment entry; an entry that fails has its problem.

    First the current visits, then all back to `visit-day-range` days before the earliest start
    of a current one, or before the end of the last span for which the entry was answered
    completely, whichever is earlier: after an outage nothing is missing, and an entry that never
    answers costs the others nothing. The second question reaches up to the present: a portal that
    filters by start shows a visit that has been running for days only there, and then the range
    moves back. The answers are stored, if we write.

    Raises:
        CatalogueError: it cannot be stored.
        Stopped: a stop was requested meanwhile.
    """
    entries = [_earlier_window(context, entry, now) for entry in context.settings.equipment]
    answered = context.catalogue.overview.answered_until()
    _reach_back(context, [(entry, now) for entry in entries])
    for _ in range(_MAX_ROUNDS):
        beamtimes = [beamtime for entry in entries for beamtime in entry.beamtimes()]
        days = context.settings.visit_day_range
        further = [
            (entry, ask_since(beamtimes, answered.get(entry.entry.id), now, days))
            for entry in entries
        ]
        if all(entry.since <= since or entry.failure for entry, since in further):
            break
        _reach_back(context, further)
    else:
        for entry in entries:
            entry.failure = entry.failure or "visits without end"
    check_clock(entries, context.portal.clock_offset)
    check_emptiness(context, entries, now)
    share_failures(entries)
    context.visit_windows.update({entry.entry.id: entry for entry in entries if not entry.problem})
    for problem in dict.fromkeys(entry.problem for entry in entries if entry.problem):
        log.error("%s", problem, extra=IN_REPORT)
    for entry in entries:
        _log(entry)
    answers = tuple(entry.as_answer() for entry in entries)
    store_visits(context, answers)
    return answers


def _earlier_window(context: CycleContext, entry: EquipmentEntry, now: datetime) -> VisitWindow:
    """The answer for the entry from an earlier try of this cycle, or an empty one."""
    earlier = context.visit_windows.get(entry.id)
    if earlier is not None and earlier.entry == entry and earlier.until >= now + CURRENT:
        return earlier
    until = now + _AHEAD
    return VisitWindow(entry, context.settings.beamline_of(entry), since=until, until=until)


def _reach_back(context: CycleContext, further: Sequence[tuple[VisitWindow, datetime]]) -> None:
    def task(entry: VisitWindow, since: datetime) -> Callable[[], None]:
        return lambda: entry.reach_back(context.portal, since)

    _send_requests(context, [task(*each) for each in further])


def _send_requests(context: CycleContext, requests: Sequence[Callable[[], None]]) -> None:
    """Ask the portal several things at a time, with signs of life."""

    def on_tick() -> None:  # each request has a limit
        context.board.beat()
        heartbeat.beat()

    all_at_once(requests, context.stop, on_tick)


def check_clock(entries: Sequence[VisitWindow], offset: float | None) -> None:
    """Mark all entries as failed if the clock is wrong: the running visits are not known then.

    `offset`: seconds by which the portal's clock is ahead of ours; None: it is not known.
    """
    if offset is None or not is_wrong(offset):
        return
    for entry in entries:
        entry.failure = entry.failure or (
            f"this machine's clock is {apart(offset)} (have it set: chrony, ntpd)"
        )


def check_emptiness(context: CycleContext, entries: Sequence[VisitWindow], now: datetime) -> None:
    """Mark entries as failed without a visit in the last year, if there were some before.

    The portal answers with nothing, and no error, if a user has lost the rights to the equipment.

    Raises:
        CatalogueError: the catalogue cannot be read.
        Stopped: a stop was requested meanwhile.
    """
    year, begun_visits = now - _YEAR, context.catalogue.overview.begun_visits
    empty = [entry for entry in entries if not (entry.failure or entry.visits or entry.unreadable)]
    known_visits = {entry.entry.id: begun_visits(entry.entry.id, year, now) for entry in empty}

    def task(entry: VisitWindow) -> Callable[[], None]:
        def check() -> None:
            try:
                has_visits = context.portal.has_visits(
                    credentials_of(entry.entry), entry.entry.id, year, now
                )
            except PortalError as error:
                entry.failure, entry.fault = str(error), error.cause
                return
            if not has_visits:
                entry.failure = (
                    "the portal reports no visit of the last year, although it has reported "
                    f"{count(known_visits[entry.entry.id], 'visit')} before; check that "
                    f"{entry.entry.username} may still see the equipment"
                )

        return check

    _send_requests(context, [task(entry) for entry in empty if known_visits[entry.entry.id]])


def share_failures(entries: Sequence[VisitWindow]) -> None:
    """Give entries that failed for the same cause the same message."""
    alike: defaultdict[str, list[VisitWindow]] = defaultdict(list)
    for entry in entries:
        if entry.failure is not None:
            alike[entry.fault or entry.failure].append(entry)
    for group in alike.values():
        for entry in group:
            entry.failure = group[0].failure
            entry.also = tuple(item.entry.id for item in group)


def _log(entry: VisitWindow) -> None:
    number = entry.entry.id
    if not entry.problem:
        log.info(
            "portal: equipment %d (%s): %s",
            number,
            entry.beamline,
            count(len(entry.visits), "visit"),
        )
    for doubt in entry.doubts[MAX_NAMED:]:
        log.error("equipment %d: %s", number, doubt)
