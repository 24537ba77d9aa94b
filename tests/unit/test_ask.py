"""Since when the portal is asked about each equipment entry."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from asynchy.config import EquipmentEntry
from asynchy.domain.stop import Stop
from asynchy.domain.visit import EquipmentVisits
from asynchy.errors import PortalUnavailable
from asynchy.facility.portal import Credentials
from asynchy.facility.portal.answers import VisitsAnswer
from asynchy.service.ask import ask_visits
from asynchy.service.cycle_site import CycleSite
from tests.tools.catalogues import new_catalogue
from tests.tools.records import NOW, hours

DAYS = timedelta(days=30)


class Silent:
    """A portal that knows no visits, and does not answer for some equipment."""

    clock_offset = 0.0

    def __init__(self, *broken: int) -> None:
        self.broken = broken
        self.since: dict[int, datetime] = {}
        """The earliest time that was asked for."""

    def visits(
        self, _who: Credentials, equipment: int, start: datetime, _end: datetime
    ) -> VisitsAnswer:
        if equipment in self.broken:
            raise PortalUnavailable("it does not answer")
        self.since[equipment] = start
        return VisitsAnswer((), ())


def entry(number: int) -> EquipmentEntry:
    who = {"username": "u", "password": "p", "client_name": "c", "client_password": "s"}
    return EquipmentEntry.model_validate({"id": number, **who})


def site_with(place: Path, portal: Silent) -> CycleSite:
    settings = SimpleNamespace(
        equipment=(entry(23), entry(24)),
        beamline_of=lambda _entry: "mx",
        visit_day_range=DAYS.days,
        epn_cap_map={},
    )
    site: Any = SimpleNamespace(
        settings=settings,
        catalogue=new_catalogue(place / "catalogue.db"),
        portal=portal,
        heard={},
        stop=Stop(),
        board=SimpleNamespace(beat=lambda: None),
        clock=SimpleNamespace(now=lambda: NOW),
    )
    return cast("CycleSite", site)


def test_an_entry_that_never_answers_leaves_no_gap_in_the_answers_for_another(
    tmp_path: Path,
) -> None:
    portal = Silent(24)
    site = site_with(tmp_path, portal)
    before = EquipmentVisits(23, "mx", since=hours(-9000), until=hours(-2000))
    site.catalogue.overview.keep_visits([before], hours(-2000))
    ask_visits(site, NOW)
    assert portal.since == {23: hours(-2000) - DAYS}
    site.heard.clear()
    ask_visits(site, NOW)
    assert portal.since == {23: NOW - DAYS}  # not years back in each cycle
    site.heard.clear()
    portal.broken = ()
    ask_visits(site, NOW)
    assert portal.since == {23: NOW - DAYS, 24: NOW - DAYS}
