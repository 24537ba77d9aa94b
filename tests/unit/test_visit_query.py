"""Since when the portal is asked about each equipment entry."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asynchy.config import EquipmentEntry
from asynchy.errors import PortalUnavailable
from asynchy.facility.portal import Credentials
from asynchy.facility.portal.parser import VisitsAnswer
from asynchy.model.cancellation import Stop
from asynchy.model.visit import EquipmentVisits, problems_of
from asynchy.repatriation.visit_query import ask_visits
from asynchy.runtime.cycle_context import CycleContext
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
            error = PortalUnavailable("it does not answer", hint="wait")
            error.name_place(f"https://portal/{equipment}/visits")
            raise error
        self.since[equipment] = start
        return VisitsAnswer((), ())


def entry(number: int) -> EquipmentEntry:
    who = {"username": "u", "password": "p", "client_name": "c", "client_password": "s"}
    return EquipmentEntry.model_validate({"id": number, **who})


def site_with(place: Path, portal: Silent) -> CycleContext:
    settings = SimpleNamespace(
        equipment=(entry(23), entry(24)),
        beamline_of=lambda _entry: "mx",
        visit_day_range=DAYS.days,
        epn_cap_map={},
    )
    context: Any = SimpleNamespace(
        settings=settings,
        catalogue=new_catalogue(place / "catalogue.db"),
        portal=portal,
        visit_windows={},
        stop=Stop(),
        board=SimpleNamespace(beat=lambda: None),
        clock=SimpleNamespace(now=lambda: NOW),
    )
    return cast("CycleContext", context)


def test_an_entry_that_never_answers_leaves_no_gap_in_the_answers_for_another(
    tmp_path: Path,
) -> None:
    portal = Silent(24)
    context = site_with(tmp_path, portal)
    before = EquipmentVisits(23, "mx", since=hours(-9000), until=hours(-2000))
    context.catalogue.overview.keep_visits([before], hours(-2000))
    ask_visits(context, NOW)
    assert portal.since == {23: hours(-2000) - DAYS}
    context.visit_windows.clear()
    ask_visits(context, NOW)
    assert portal.since == {23: NOW - DAYS}  # not years back in each cycle
    context.visit_windows.clear()
    portal.broken = ()
    ask_visits(context, NOW)
    assert portal.since == {23: NOW - DAYS, 24: NOW - DAYS}


def test_a_fault_that_all_entries_have_is_one_problem_with_the_cause_and_an_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = site_with(tmp_path, Silent(23, 24))
    said = "equipment 23, 24: it does not answer: https://portal/23/visits (wait)"
    answers = ask_visits(context, NOW)
    assert [answer.problem for answer in answers] == [said, said]
    assert problems_of(answers) == (said,)
    assert [record.message for record in caplog.records] == [said]

    context.portal = Silent(24)  # type: ignore[assignment,misc]
    one = problems_of(ask_visits(context, NOW))
    assert one == ("equipment 24: it does not answer: https://portal/24/visits (wait)",)
