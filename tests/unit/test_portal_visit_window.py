"""What the portal told of one equipment entry: what is known, and what keeps it from being all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from asynchy.config import EquipmentEntry
from asynchy.errors import PortalUnavailable
from asynchy.facility.portal import Credentials, Portal
from asynchy.facility.portal.parser import VisitsAnswer, parse_visits
from asynchy.facility.portal.visit_window import VisitWindow, credentials_of
from asynchy.model.formatting import moment
from asynchy.model.visit import contradictions

NOW = datetime(2026, 11, 19, tzinfo=UTC)
DAY = timedelta(days=1)
VISIT = {
    "id": 7,
    "epn": "12282a",
    "start_time": "2026-11-17T08:00:00+10:00",
    "end_time": "2026-11-17T16:00:00+10:00",
}
BEGIN = moment(datetime(2026, 11, 16, 22, 0, tzinfo=UTC))
END = moment(datetime(2026, 11, 17, 6, 0, tzinfo=UTC))
ENTRY = EquipmentEntry.model_validate(
    {"id": 23, "username": "u", "password": "p", "client_name": "c",
     "client_password": "s"}
)  # fmt: skip


class FakePortal:
    """Gives the answers one after the other: lists of visits, or errors."""

    def __init__(self, *answers: list[Any] | PortalUnavailable) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[datetime, datetime]] = []

    def visits(
        self, credentials: Credentials, equipment: int, start: datetime, end: datetime
    ) -> VisitsAnswer:
        assert (credentials, equipment) == (credentials_of(ENTRY), 23)
        self.asked.append((start, end))
        answer = self.answers.pop(0)
        if isinstance(answer, PortalUnavailable):
            raise answer
        return parse_visits(json.dumps({"data": {"visits": answer}}).encode())


def heard(*answers: list[Any] | PortalUnavailable) -> tuple[VisitWindow, FakePortal]:
    """What is known after one question for each answer, each for the day before the last one."""
    portal = FakePortal(*answers)
    entry = VisitWindow(ENTRY, "mx", since=NOW, until=NOW)
    for day in range(1, len(answers) + 1):
        entry.reach_back(cast("Portal", portal), NOW - day * DAY)
    return entry, portal


def test_equal_repeats_are_merged_within_an_answer_and_across_answers() -> None:
    same = {
        **VISIT,
        "id": "7",
        "epn": " 12282A",
        "start_time": "2026-11-16T22:00:00Z",
        "proposal": {"title": "edited meanwhile"},
    }
    entry, _ = heard([VISIT, VISIT], [same])
    (visit,) = entry.as_answer().visits
    assert visit.title == "edited meanwhile"
    assert entry.as_answer().problem is None


def test_two_visits_of_one_id_in_one_answer_are_a_problem_and_both_kept() -> None:
    entry, _ = heard([VISIT, {**VISIT, "epn": "8020l"}])
    told = entry.as_answer()
    assert {visit.epn.text for visit in told.visits} == {"12282a", "8020l"}
    assert told.problem == (
        "equipment 23: not every running visit is known: visit 7 is reported in 2 versions: "
        f"12282a from {BEGIN} to {END}, 8020l from {BEGIN} to {END} (report it to the facility)"
    )


def test_a_visit_that_is_moved_between_two_answers_is_a_problem() -> None:
    entry, _ = heard([VISIT], [{**VISIT, "end_time": "2026-11-18T16:00:00+10:00"}])
    assert "visit 7 is reported in 2 versions" in (entry.problem or "")


def test_visits_with_ids_of_their_own_do_not_contradict_each_other() -> None:
    entry, _ = heard([VISIT, {**VISIT, "id": 8}, {**VISIT, "id": 9, "epn": "8020l"}])
    assert contradictions(entry.as_answer().visits) == []
    assert len(entry.as_answer().visits) == 3
    assert entry.problem is None


def test_an_unreadable_visit_is_a_problem_and_the_past_is_asked_for_all_the_same() -> None:
    entry, portal = heard([{**VISIT, "epn": None}], [VISIT])
    assert portal.asked == [(NOW - DAY, NOW), (NOW - 2 * DAY, NOW - DAY)]
    told = entry.as_answer()
    assert [visit.id for visit in told.visits] == ["7"]
    assert told.problem == (
        "equipment 23: not every running visit is known: "
        "visit 7: its EPN is none: missing (report it to the facility)"
    )


def test_a_problem_names_some_of_many_unreadable_visits_and_counts_the_others() -> None:
    entry, _ = heard([{**VISIT, "id": number, "epn": None} for number in range(100)])
    assert entry.problem is not None
    assert entry.problem.count("its EPN is none") == 3
    assert "; and 97 more (report it" in entry.problem
    assert len(entry.doubts) == 100


def test_a_failure_is_told_beside_an_unreadable_visit_and_ends_the_questions() -> None:
    entry, portal = heard([["no visit"]], PortalUnavailable("the portal is down"), [VISIT])
    assert len(portal.asked) == 2
    problem = entry.as_answer().problem or ""
    assert problem.startswith("equipment 23: the portal is down; equipment 23: not every running")
    assert "an entry of the answer: not a visit: ['no visit']" in problem
