"""Ask the portal for the visits that a cycle needs, every equipment entry by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asynchy.config import EquipmentEntry
from asynchy.domain.text import count
from asynchy.domain.visit import EquipmentVisits, UnreadableVisit, Visit
from asynchy.errors import PortalError
from asynchy.facility.portal import Credentials
from asynchy.plan.select import CURRENT, reference
from asynchy.service.site import Site
from asynchy.service.tasks import all_at_once

log = logging.getLogger(__name__)

_ROUNDS = 5


@dataclass
class _Entry:
    """What has been heard of one equipment entry so far."""

    config: EquipmentEntry
    beamline: str
    visits: dict[str, Visit] = field(default_factory=dict)
    unreadable: dict[UnreadableVisit, None] = field(default_factory=dict)
    problem: str | None = None

    def ask(self, site: Site, start: datetime, end: datetime) -> None:
        entry = self.config
        credentials = Credentials(
            username=entry.username,
            password=entry.password.get_secret_value(),
            client_name=entry.client_name,
            client_password=entry.client_password.get_secret_value(),
        )
        try:
            answer = site.portal.visits(credentials, entry.id, start, end)
        except PortalError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.problem = f"equipment {entry.id}: {error}{hint}"
            return
        self.visits |= {visit.id: visit for visit in answer.visits}
        self.unreadable |= dict.fromkeys(answer.unreadable)
        if answer.paging:
            self.problem = f"equipment {entry.id}: the answer hints at paging ({answer.paging})"


def ask_visits(site: Site, now: datetime) -> tuple[EquipmentVisits, ...]:
    """What the portal says of every equipment entry; an entry that fails carries its problem.

    First the current visits, then all back to `visit-day-range` days before the earliest start
    of a current one. The second question covers the present, too: a portal that filters by start
    shows a visit that has been running for days only there, and then the range moves back.

    Raises:
        Stopped: a stop was asked for meanwhile.
    """
    settings = site.settings
    entries = [_Entry(config, settings.beamline_of(config)) for config in settings.equipment]
    day_range = timedelta(days=settings.visit_day_range)
    soon = now + CURRENT
    _ask_all(site, entries, now, soon)
    asked_from = soon
    for _ in range(_ROUNDS):
        since = reference(_all(entries), now) - day_range
        if since >= asked_from:
            break
        _ask_all(site, entries, since, asked_from)
        asked_from = since
    else:
        for entry in entries:
            entry.problem = entry.problem or f"equipment {entry.config.id}: visits without end"
    return tuple(_told(entry) for entry in entries)


def _ask_all(site: Site, entries: Sequence[_Entry], start: datetime, end: datetime) -> None:
    def task(entry: _Entry) -> Callable[[], None]:
        return lambda: entry.ask(site, start, end)

    # An entry that failed is not asked further in this cycle: what it told may have gaps.
    all_at_once([task(entry) for entry in entries if entry.problem is None], site.stop)


def _all(entries: Sequence[_Entry]) -> list[Visit]:
    return [visit for entry in entries for visit in entry.visits.values()]


def _told(entry: _Entry) -> EquipmentVisits:
    if entry.problem:
        log.error("%s", entry.problem)
    else:
        told = count(len(entry.visits), "visit")
        log.info("portal: equipment %d (%s): %s", entry.config.id, entry.beamline, told)
    for visit in entry.unreadable:
        whose = visit.epn or "no EPN"
        log.warning("equipment %d: visit left out (%s): %s", entry.config.id, whose, visit.reason)
    return EquipmentVisits(
        equipment=entry.config.id,
        beamline=entry.beamline,
        visits=tuple(entry.visits.values()),
        unreadable=tuple(entry.unreadable),
        problem=entry.problem,
    )
