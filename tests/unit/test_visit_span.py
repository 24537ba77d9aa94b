"""For which time the portal is asked, and for which time its answers are known to be whole."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.catalogue import Catalogue
from asynchy.model.experiment import LocatedExperiment
from asynchy.model.experiment_state import State, experiment_state
from asynchy.model.observed import FolderSeen
from asynchy.model.visit import Beamtime, EquipmentVisits, UnreadableVisit
from asynchy.model.visit_span import Span, ask_since, before, is_whole, span_after
from tests.tools.catalogues import new_catalogue
from tests.tools.records import NOW, experiment_of, hours, policy_of, visit

pytestmark = pytest.mark.both_databases


def answer(
    since: float | None, until: float | None, *told: Beamtime, equipment: int = 23
) -> EquipmentVisits:
    start, end = (None if at is None else hours(at) for at in (since, until))
    visits = tuple(item.visit for item in told)
    return EquipmentVisits(equipment, "mx", visits, since=start, until=end)


# From when on it is asked


def test_the_days_are_counted_back_from_the_earliest_current_visit() -> None:
    assert ask_since([], None, NOW, 30) == NOW - timedelta(days=30)
    running = [visit("1a", -8, 2), visit("1b", -99, -98), visit("2c", -7, 9)]
    assert ask_since(running, None, NOW, 1) == hours(-8 - 24)
    assert ask_since([visit("1a", 0.9, 3)], None, NOW, 1) == hours(-24)


def test_after_an_outage_it_is_asked_from_before_the_last_whole_answer_on() -> None:
    assert ask_since([], hours(-1000), NOW, 1) == hours(-1024)
    assert ask_since([visit("1a", -8, 2)], hours(-2), NOW, 1) == hours(-32)
    assert ask_since([visit("1a", -8, 2)], hours(-2000), NOW, 1) == hours(-2024)


def test_a_time_before_the_calendar_begins_is_its_beginning() -> None:
    earliest = datetime.min.replace(tzinfo=NOW.tzinfo)
    assert before(earliest, 30) == before(NOW, 10**6) == earliest


# What is known without a gap


def test_a_whole_answer_moves_the_end_of_the_span_on_and_never_into_the_future() -> None:
    assert span_after(None, answer(-9, 1), NOW) == Span(hours(-9), NOW)
    known = Span(hours(-50), hours(-5))
    assert span_after(known, answer(-9, 1), NOW) == Span(hours(-50), NOW)
    assert span_after(known, answer(-60, -40), NOW) == Span(hours(-60), hours(-5))


def test_an_answer_after_a_gap_moves_nothing() -> None:
    known = Span(hours(-50), hours(-20))
    assert span_after(known, answer(-19.9, 1), NOW) == known
    assert span_after(known, answer(-20, 1), NOW) == Span(hours(-50), NOW)


@pytest.mark.parametrize(
    "part",
    [
        replace(answer(-9, 1), problem="paging"),
        replace(answer(-9, 1), unreadable=(UnreadableVisit(None, "no end"),)),
        answer(None, None),
        answer(-9, None),
    ],
)
def test_an_answer_that_is_not_whole_moves_nothing(part: EquipmentVisits) -> None:
    for known in (None, Span(hours(-50), hours(-5))):
        assert span_after(known, part, NOW) == known
    assert is_whole(part) == (part.problem is None and not part.unreadable)


@given(st.lists(st.tuples(st.floats(-500, 10), st.floats(0, 100)), max_size=9))
def test_a_span_never_has_a_gap(asked: list[tuple[float, float]]) -> None:
    """Every hour of it was in an answer."""
    span, answers = None, []
    for since, length in asked:
        answers.append((hours(since), hours(since + length)))
        span = span_after(span, answer(since, since + length), NOW)
    if span is None or span.until <= span.since:
        return
    moment = span.since
    while moment < span.until:
        reached = max((end for start, end in answers if start <= moment < end), default=None)
        assert reached is not None
        moment = reached


# As it is stored


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path / "catalogue.db")


def test_each_entry_is_answered_up_to_the_end_of_its_own_last_whole_answer(
    catalogue: Catalogue,
) -> None:
    assert catalogue.overview.answered_until() == {}
    catalogue.overview.keep_visits([answer(-9, -1)], NOW)
    catalogue.overview.keep_visits([answer(-9, -3, equipment=24)], NOW)
    catalogue.overview.keep_visits([replace(answer(-9, 0), problem="down")], NOW)
    assert catalogue.overview.answered_until() == {23: hours(-1), 24: hours(-3)}


def test_an_answer_without_a_visit_that_it_should_have_moves_nothing(catalogue: Catalogue) -> None:
    catalogue.overview.keep_visits([answer(-200, -50, visit("1a", -60, -55))], NOW)
    catalogue.overview.keep_visits([answer(-200, 1)], NOW)
    assert catalogue.overview.answered_until() == {23: hours(-50)}
    catalogue.overview.keep_visits([answer(-55, 1)], NOW)  # it began before
    assert catalogue.overview.answered_until() == {23: NOW}


def test_a_visit_that_is_told_no_more_although_it_should_be_was_called_off(
    catalogue: Catalogue,
) -> None:
    off, stays, older = visit("1a", -9, -8), visit("1b", -7, -6), visit("2a", -99, -98)
    catalogue.overview.keep_visits([answer(-200, 1, off, stays, older)], NOW)
    again = answer(-50, 1, stays)
    catalogue.overview.keep_visits([replace(again, problem="paging")], NOW)
    assert len(catalogue.overview.visits()) == 3
    catalogue.overview.keep_visits([answer(-50, 1)], NOW)  # none at all: that is no answer
    assert len(catalogue.overview.visits()) == 3
    catalogue.overview.keep_visits([again], NOW)
    assert {item.visit.epn.text for item in catalogue.overview.visits()} == {"1b", "2a"}


def test_an_experiment_whose_visit_was_called_off_stays_an_obligation_once_it_is_visible(
    catalogue: Catalogue,
) -> None:
    off, stays = visit("1a", -9, -8), visit("1b", -7, -6)
    catalogue.overview.keep_visits([answer(-50, 1, off, stays)], NOW)
    no_more = answer(-50, 1, stays)

    def state(*answers: EquipmentVisits) -> State | None:
        records = catalogue.overview.records(answers=answers)
        found = [one for one in records if one.epn.text == "1a"]
        return experiment_state(found[0], policy_of(*records)).state if found else None

    assert state(no_more) is None  # nothing was seen of it
    folder = FolderSeen("/data/mx", (LocatedExperiment(experiment_of("1a"), "/data/mx/1a"),))
    catalogue.see(folder, NOW)
    assert state(no_more) is State.DUE  # a dry run
    catalogue.overview.keep_visits([no_more], NOW)
    assert state() is State.DUE
    again = answer(-50, 1, visit("1a", 5, 6), stays)
    catalogue.overview.keep_visits([again], NOW)
    (told,) = (one for one in catalogue.overview.records() if one.epn.text == "1a")
    assert (told.note, told.called_off) == (None, False)


def test_an_experiment_with_another_visit_left_has_none_called_off(catalogue: Catalogue) -> None:
    off, stays = visit("1a", -9, -8), visit("1a", -7, -6)
    catalogue.overview.keep_visits([answer(-50, 1, off, stays)], NOW)
    catalogue.overview.keep_visits([answer(-50, 1, stays)], NOW)
    (record,) = catalogue.overview.records()
    assert record.note is None


def test_answers_count_though_they_are_not_stored(catalogue: Catalogue) -> None:
    told = visit("1a", -9, -8)
    catalogue.overview.keep_visits([answer(-50, 1, told)], NOW)
    moved = replace(told.visit, end=hours(-2))
    (record,) = catalogue.overview.records(answers=[replace(answer(-50, 1), visits=(moved,))])
    assert [item.visit for item in record.beamtimes] == [moved]
    assert [item.visit for item in catalogue.overview.visits()] == [told.visit]


class Facility:
    """A portal that filters by start, of two entries; each is down now and then, or tells a part."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.visits = {
            number: [visit(f"{number}a", day * 24, day * 24 + 8).visit for day in range(90)]
            for number in (23, 24)
        }

    def asked(self, number: int, since: datetime, now: datetime) -> EquipmentVisits:
        told = [one for one in self.visits[number] if since <= one.start <= now]
        problem = self.draw.choice([None, None, "down"])
        if problem:
            told = self.draw.sample(told, self.draw.randint(0, len(told)))
        return EquipmentVisits(number, "mx", tuple(told), (), problem, since, now)

    def begun(self, number: int, now: datetime) -> set[str]:
        return {one.id for one in self.visits[number] if one.start <= now}


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_between_epnalert_and_mxsync_though_answers_fail(
    catalogue: Catalogue, seed: int
) -> None:
    """Each asks as it does, each entry fails by itself, and mxsync is away for weeks."""
    draw, days = random.Random(seed), 5
    facility, overview = Facility(draw), catalogue.overview
    away = range(30, 30 + draw.randint(1, 50))
    for day in range(1, 90):
        now = hours(day * 24 + 12)
        if draw.random() < 0.7:
            by_epnalert = [facility.asked(one, before(now, days), now) for one in (23, 24)]
            overview.keep_visits(by_epnalert, now)
        if day in away:
            continue
        until, known = overview.answered_until(), overview.visits()
        answers = [
            facility.asked(one, ask_since(known, until.get(one), now, days), now)
            for one in (23, 24)
        ]
        overview.keep_visits(answers, now)
        told = {item.visit.id for item in overview.visits()}
        for said in answers:
            if said.problem is None:  # its span ends now: nothing before may be missing
                assert facility.begun(said.equipment, now) <= told
