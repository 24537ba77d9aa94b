from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.domain.attempt import Claim, EngineResult, Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment, Survey
from asynchy.domain.level import Check
from asynchy.domain.visit import EquipmentVisits, UnreadableVisit, Visit
from asynchy.plan.backlog import Known, Wish, backlog
from asynchy.plan.decide import (
    History,
    Room,
    Rules,
    SecondLook,
    after_listing,
    before_listing,
    map_to_project,
)
from asynchy.plan.outcome import Due, Left, LeftOut, Plan, Transfer, Why
from asynchy.plan.select import Candidate, Selection, select
from asynchy.plan.verdict import Judgement, Proof, check_made, judge, verdict_on

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULES = Rules(
    {"12282": "ny79"}, "/data/{beamline}/{epn}", Path("/projects"), "{project}/{epn}/data"
)


def hours(number: float) -> datetime:
    return NOW + timedelta(hours=number)


def visit(epn: str, start: float, end: float) -> Visit:
    return Visit(f"{epn} {start} {end}", Epn(epn), hours(start), hours(end))


def told(
    *visits: Visit, equipment: int = 23, beamline: str = "mx", problem: str | None = None
) -> EquipmentVisits:
    return EquipmentVisits(equipment, beamline, visits, (), problem)


def chosen(selection: Selection) -> list[str]:
    return [candidate.experiment.epn.text for candidate in selection.candidates]


def left(selection: Selection) -> dict[str, Left]:
    return {item.epn.text: item.reason for item in selection.left_out}


def test_an_ended_visit_is_chosen_the_oldest_first() -> None:
    found = select([told(visit("2b", -20, -10), visit("1a", -50, -40))], NOW, 30)
    assert chosen(found) == ["1a", "2b"]
    assert found.left_out == ()


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (0.5, 8), (-3, 0), (1, 9)])
def test_a_running_visit_on_any_equipment_holds_the_epn_back(start: float, end: float) -> None:
    found = select(
        [told(visit("1a", -50, -40)), told(visit("1a", start, end), equipment=24)], NOW, 30
    )
    assert chosen(found) == []
    assert left(found) == {"1a": Left.RUNNING}


def test_only_what_ended_before_the_earliest_running_visit_began() -> None:
    found = select(
        [told(visit("1a", -30, -9), visit("2b", -20, -7)), told(visit("9z", -8, 2), equipment=24)],
        NOW,
        30,
    )
    assert chosen(found) == ["1a"]
    assert left(found) == {"9z": Left.RUNNING, "2b": Left.LATER}


def test_the_day_range_counts_back_from_the_earliest_running_visit() -> None:
    visits = told(visit("1a", -40, -25), visit("2b", -60, -33), visit("9z", -8, 2))
    assert chosen(select([visits], NOW, 1)) == ["1a"]
    assert chosen(select([visits], NOW, 2)) == ["2b", "1a"]


def test_a_visit_beyond_the_hour_is_not_current() -> None:
    found = select([told(visit("1a", -30, -9), visit("1a", 1.5, 9))], NOW, 30)
    assert chosen(found) == ["1a"]


def test_the_same_epn_on_two_beamlines_is_two_experiments() -> None:
    found = select(
        [told(visit("1a", -30, -9)), told(visit("1a", -40, -20), equipment=30, beamline="saxs")],
        NOW,
        30,
    )
    assert [candidate.experiment for candidate in found.candidates] == [
        Experiment("saxs", Epn("1a")),
        Experiment("mx", Epn("1a")),
    ]


def test_unreadable_visits_follow_their_epn() -> None:
    answer = EquipmentVisits(
        23, "mx", (visit("1a", -30, -9),),
        (UnreadableVisit(Epn("1a"), "no end"), UnreadableVisit(Epn("2b"), "no start"), UnreadableVisit(None, "?")),
    )  # fmt: skip
    found = select([answer], NOW, 30)
    assert found.candidates[0].unreadable == "no end"
    assert left(found) == {"2b": Left.UNREADABLE}


def test_problems_are_handed_on() -> None:
    found = select(
        [told(visit("1a", -30, -9)), told(equipment=24, problem="equipment 24: gone")], NOW, 30
    )
    assert chosen(found) == ["1a"]
    assert found.problems == ("equipment 24: gone",)
    assert Plan((), (), found.problems).unsure is not None
    assert Plan((), (), ()).unsure is None


epns = st.sampled_from(["1a", "1b", "2a", "12282a"])
visits_ = st.builds(
    lambda epn, start, length: visit(epn, start, start + length),
    epns, st.floats(-2000, 30), st.floats(0, 100),
)  # fmt: skip
answers = st.lists(st.lists(visits_, max_size=6).map(lambda v: told(*v)), max_size=4)


@given(answers, st.integers(1, 60))
def test_an_epn_is_never_both_chosen_and_held_back(found: list[EquipmentVisits], days: int) -> None:
    selection = select(found, NOW, days)
    running = {epn for epn, why in left(selection).items() if why is Left.RUNNING}
    assert not running & set(chosen(selection))
    for candidate in selection.candidates:
        assert candidate.last_end < NOW


@given(answers, st.integers(1, 60), st.randoms())
def test_the_order_of_the_answers_does_not_matter(
    found: list[EquipmentVisits], days: int, chance: st.DataObject
) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = select(found, NOW, days), select(shuffled, NOW, days)
    assert (one.candidates, set(one.left_out)) == (two.candidates, set(two.left_out))


def candidate(end: float = -9, *, unreadable: str | None = None) -> Candidate:
    return Candidate(Experiment("mx", Epn("12282a")), hours(end), unreadable)


COPY = RULES.copy_of(candidate(), "ny79")


def decided(
    *, ignored: bool = False, history: History | None = None, there: bool = True, end: float = -9
) -> Due | LeftOut:
    return before_listing(
        candidate(end), COPY, ignored=ignored, history=history or History(), folder_there=there
    )


def test_where_it_comes_from_and_where_it_goes() -> None:
    copy = map_to_project(candidate(), RULES)
    assert not isinstance(copy, LeftOut)
    assert copy.source == "/data/mx/12282a"
    assert copy.destination == Path("/projects/ny79/12282a/data")
    assert copy.project_folder == Path("/projects/ny79")


def test_a_proposal_without_a_project_is_left_to_epnalert() -> None:
    found = map_to_project(Candidate(Experiment("mx", Epn("99999a")), NOW), RULES)
    assert isinstance(found, LeftOut)
    assert (found.reason, found.reason.stays_due) == (Left.UNMAPPED, False)


FETCHED = hours(-5)


@pytest.mark.parametrize(
    ("ignored", "completed", "attempts", "end", "result"),
    [
        (False, None, 0, -9, Why.NEW),
        (False, None, 2, -9, Why.AGAIN),
        (False, FETCHED, 1, -9, Why.REMOVED),
        (True, None, 0, -9, Left.IGNORED),
        (True, None, 2, -9, Left.IGNORED),
        (True, FETCHED, 1, -9, Left.COMPLETE),
        (True, FETCHED, 1, -5, Left.COMPLETE),
        (True, FETCHED, 1, -4, Why.RETURNED),
    ],
)
def test_due_or_not(
    ignored: bool, completed: datetime | None, attempts: int, end: float, result: Why | Left
) -> None:
    history = History(attempts=attempts, completed_listing=completed)
    found = decided(ignored=ignored, history=history, end=end)
    assert (found.why if isinstance(found, Due) else found.reason) is result


def test_a_missing_project_folder_keeps_it_due() -> None:
    found = decided(there=False)
    assert isinstance(found, LeftOut)
    assert found.reason is Left.NO_PROJECT_FOLDER and found.reason.stays_due
    assert "/projects/ny79" in str(found)


def test_a_copy_that_another_process_works_on_is_left_to_it() -> None:
    found = decided(history=History(claim=Claim("node7", 4711, NOW, NOW)))
    assert isinstance(found, LeftOut)
    assert found.reason is Left.CLAIMED
    assert "process 4711 on node7" in str(found)


def survey(fingerprint: str = "f", *, files: int = 0, size: int = 0, folders: int = 0) -> Survey:
    return Survey(NOW, 10, 1000, 2, 0, files, size, folders, fingerprint)


@pytest.mark.parametrize(
    ("room", "result"),
    [
        (Room(500, 8), None),
        (Room(500, None), None),
        (Room(499, 8), Left.NO_SPACE),
        (Room(-1, 8), Left.NO_SPACE),
        (Room(500, 7), Left.NO_INODES),
    ],
)
def test_it_must_fit(room: Room, result: Left | None) -> None:
    found = after_listing(Due(COPY, Why.NEW), survey(files=5, size=500, folders=3), room)
    assert (found.reason if isinstance(found, LeftOut) else None) is result


def test_what_is_planned_is_no_longer_free() -> None:
    assert Room(500, 8).less(survey(files=5, size=500, folders=3)) == Room(0, 0)
    assert Room(500, None).less(survey(files=5, size=500)) == Room(0, None)


def test_an_unreadable_visit_makes_a_transfer_unsure() -> None:
    due = before_listing(
        candidate(unreadable="no end"), COPY, ignored=False, history=History(), folder_there=True
    )
    assert isinstance(due, Due) and due.unsure is not None
    transfer = after_listing(due, survey(), Room(1, 1))
    assert isinstance(transfer, Transfer) and transfer.unsure == due.unsure


@given(answers, st.integers(1, 60), st.integers(0, 1000))
def test_the_plan_after_a_complete_run_is_empty(
    found: list[EquipmentVisits], days: int, later: int
) -> None:
    for item in select(found, NOW, days).candidates:
        copy = RULES.copy_of(item, "ny79")
        done = History(attempts=1, completed_listing=NOW)
        again = before_listing(item, copy, ignored=True, history=done, folder_there=True)
        assert isinstance(again, LeftOut) and again.reason is Left.COMPLETE


@given(end=st.floats(-1000, -1), listed=st.floats(-1000, 0), days=st.integers(1, 30))
def test_what_is_complete_is_looked_at_once_more_when_its_time_has_come(
    end: float, listed: float, days: int
) -> None:
    """Due from so many days after the visit on, until a listing was made after that."""
    history = History(attempts=1, completed_listing=hours(listed))
    found = before_listing(
        candidate(end),
        COPY,
        ignored=True,
        history=history,
        folder_there=True,
        second_look=SecondLook(NOW, timedelta(days=days)),
    )
    came = hours(end) + timedelta(days=days)
    if hours(listed) < hours(end):
        assert isinstance(found, Due) and found.why is Why.RETURNED
    elif hours(listed) < came <= NOW:
        assert isinstance(found, Due) and found.why is Why.LATE
    else:
        assert isinstance(found, LeftOut) and found.reason is Left.COMPLETE


def test_a_hand_made_entry_is_never_looked_at_a_second_time() -> None:
    found = before_listing(
        candidate(-1000), COPY, ignored=True, history=History(), folder_there=True,
        second_look=SecondLook(NOW, timedelta(days=1)),
    )  # fmt: skip
    assert isinstance(found, LeftOut) and found.reason is Left.IGNORED


@pytest.mark.parametrize("ignored", [True, False])
def test_what_was_found_to_differ_is_due_whatever_the_ignore_list_says(ignored: bool) -> None:
    due = decided(ignored=ignored, history=History(attempts=2, doubted=True))
    assert isinstance(due, Due) and due.why is Why.DIFFERENT


def test_what_a_later_attempt_left_undone_is_due_though_it_was_complete() -> None:
    history = History(attempts=2, completed_listing=FETCHED, unfinished=True)
    due = decided(ignored=True, history=history, end=-9)
    assert isinstance(due, Due) and due.why is Why.AGAIN


def test_sync_takes_what_a_later_attempt_left_undone() -> None:
    known = Known(Experiment("mx", Epn("1a")), "/data/mx/1a", NOW, None, None, None, False)
    wish = Wish(Path("/vault"))
    history = History(attempts=2, completed_listing=NOW)
    assert backlog([known], wish, lambda _: history) == ([], 1)
    (due,), complete = backlog([known], wish, lambda _: replace(history, unfinished=True))
    assert isinstance(due, Due) and (due.why, complete) == (Why.AGAIN, 0)


@pytest.mark.parametrize(
    ("walked", "source"),
    [("/data/mx/1A", "/other/1A"), ("/data/mx/1a", "/other/1a"), ("", "/other/1a")],
)
def test_a_source_prefix_goes_before_the_folder_as_it_is_spelled(walked: str, source: str) -> None:
    known = Known(Experiment("mx", Epn("1a")), walked, NOW, None, None, None, False)
    copy = Wish(Path("/vault"), source_prefix="/other/").copy_of(known)
    assert (copy.source, copy.destination) == (source, Path("/vault/1a"))


def check(different: int = 0, reason: str | None = None) -> Check:
    return Check("verify", "way", NOW, NOW, "here", 1, 9, 99, different, 0, 0, 0, reason, True)


COMPLETE = Judgement(Verdict.COMPLETE)


@pytest.mark.parametrize(
    ("proof", "again", "verdict", "words"),
    [
        (Proof(check(), 0), False, Verdict.COMPLETE, None),
        (Proof(check(1), 0), False, Verdict.DIFFERENT, "1 file differs from the facility's"),
        (
            Proof(check(2, "x"), 3), True, Verdict.DIFFERENT,
            "2 files differ from the facility's, also when fetched again",
        ),
        (Proof(check(0, "1 file could not be read"), 1), False, Verdict.FAILED, "1 file could not be read"),
    ],
)  # fmt: skip
def test_the_verdict_once_bytes_were_compared(
    proof: Proof, again: bool, verdict: Verdict, words: str | None
) -> None:
    assert verdict_on(proof, COMPLETE, again=again) == Judgement(verdict, words)


@pytest.mark.parametrize(
    ("engine", "verify", "judgement", "said"),
    [
        ("size", "size", COMPLETE, "size"),
        ("transport", "size", COMPLETE, "transport"),
        ("transport", "none", COMPLETE, "transport"),
        ("size", "none", COMPLETE, "none"),
        ("size", "source", COMPLETE, "source"),
        ("transport", "source", Judgement(Verdict.DIFFERENT, "x"), "transport"),
    ],
)
def test_an_attempt_says_no_more_than_was_checked(
    engine: str, verify: str, judgement: Judgement, said: str
) -> None:
    assert check_made(engine, verify, judgement) == said


def result(**changes: bool) -> EngineResult:
    return EngineResult(
        **{"ok": True, "stopped": False, "vanished": False, **changes},
        exit_code=0, files=1, bytes=1, reason="broken", hint=None, stderr="",
    )  # fmt: skip


VERDICTS = [
    (result(), survey(), None, Verdict.COMPLETE),
    (result(), survey(), "unsure", Verdict.TRANSFERRED),
    (result(), survey("g"), None, Verdict.CHANGED),
    (result(), survey(files=1), None, Verdict.FAILED),
    (result(), survey(folders=1), None, Verdict.FAILED),
    (result(), None, None, Verdict.FAILED),
    (result(ok=False), survey(), None, Verdict.FAILED),
    (result(ok=False), None, None, Verdict.FAILED),
    (result(ok=False, vanished=True), survey(), None, Verdict.CHANGED),
    (result(ok=False, stopped=True), None, None, Verdict.STOPPED),
    (result(stopped=True), survey(), None, Verdict.STOPPED),
]


@pytest.mark.parametrize(("done", "after", "unsure", "verdict"), VERDICTS)
def test_verdicts(
    done: EngineResult, after: Survey | None, unsure: str | None, verdict: Verdict
) -> None:
    found = judge(done, survey(), after, unsure=unsure)
    assert found.verdict is verdict
    assert (found.reason is None) == (verdict is Verdict.COMPLETE)


@given(
    st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["f", "g"]),
    st.integers(0, 2), st.none() | st.just("unsure"),
)  # fmt: skip
def test_complete_needs_everything(
    ok: bool, stopped: bool, vanished: bool, mark: str, missing: int, unsure: str | None
) -> None:
    found = judge(
        result(ok=ok, stopped=stopped, vanished=vanished),
        survey(),
        survey(mark, files=missing),
        unsure=unsure,
    )
    all_well = (
        ok and not stopped and not vanished and mark == "f" and not missing and unsure is None
    )
    assert (found.verdict is Verdict.COMPLETE) == all_well


# The edges of the rules


@pytest.mark.parametrize(
    ("end", "chosen_", "left_"),
    [
        (-8 - 24, ["1a"], {}),
        (-8 - 24.001, [], {}),
        (-8.001, ["1a"], {}),
        (-8, [], {"1a": Left.LATER}),
        (-0.001, [], {"1a": Left.LATER}),
    ],
)
def test_the_edges_of_the_range(end: float, chosen_: list[str], left_: dict[str, Left]) -> None:
    found = select([told(visit("1a", -100, end)), told(visit("9z", -8, 2), equipment=24)], NOW, 1)
    assert chosen(found) == chosen_
    assert left(found) == {"9z": Left.RUNNING, **left_}


def test_without_a_running_visit_the_range_counts_back_from_now() -> None:
    answers_ = [told(visit("1a", -99, -24), visit("2b", -99, -24.1), visit("3c", -9, -0.001))]
    assert chosen(select(answers_, NOW, 1)) == ["1a", "3c"]


def test_what_begins_within_the_hour_moves_no_range() -> None:
    found = select([told(visit("1a", -9, -0.01), visit("9z", 0.9, 3))], NOW, 30)
    assert (chosen(found), left(found)) == (["1a"], {"9z": Left.RUNNING})


def test_an_earlier_visit_is_fetched_though_a_later_one_has_to_wait() -> None:
    found = select([told(visit("1a", -90, -80), visit("1a", -9, -7), visit("9z", -8, 2))], NOW, 30)
    assert [(one.experiment.epn.text, one.last_end) for one in found.candidates] == [
        ("1a", hours(-80))
    ]
    assert left(found) == {"9z": Left.RUNNING}


@pytest.mark.parametrize("ends", [(-80, -40, -60), (-40, -60, -80), (-80, -60, -40)])
def test_the_latest_of_the_ended_visits_counts(ends: tuple[float, ...]) -> None:
    found = select([told(*(visit("1a", end - 8, end) for end in ends))], NOW, 30)
    assert [one.last_end for one in found.candidates] == [hours(-40)]


def test_a_running_visit_on_another_beamline_holds_every_experiment_of_the_epn_back() -> None:
    found = select(
        [
            told(visit("1a", -50, -40)),
            told(visit("1a", -50, -40), visit("1a", -1, 1), equipment=30, beamline="saxs"),
        ],
        NOW,
        30,
    )
    assert found.candidates == ()
    assert found.left_out == (LeftOut(Epn("1a"), Left.RUNNING),)


def test_an_epn_is_left_out_once_for_the_weightiest_reason() -> None:
    answer = EquipmentVisits(
        23, "mx", (visit("1a", -1, 1), visit("2b", -0.5, -0.2), visit("1a", -30, -20)),
        (UnreadableVisit(Epn("1a"), "x"), UnreadableVisit(Epn("2b"), "x"), UnreadableVisit(Epn("3c"), "x")),
    )  # fmt: skip
    assert select([answer], NOW, 30).left_out == (
        LeftOut(Epn("1a"), Left.RUNNING),
        LeftOut(Epn("2b"), Left.LATER),
        LeftOut(Epn("3c"), Left.UNREADABLE, "x"),
    )


def test_no_answers_choose_nothing_and_keep_the_problem() -> None:
    found = select([told(problem="equipment 23: gone"), told(problem="equipment 24: gone")], NOW, 9)
    assert found == Selection((), (), ("equipment 23: gone", "equipment 24: gone"))


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=11)), timezone(timedelta(hours=-9))])
def test_the_zone_of_a_time_does_not_matter(zone: timezone) -> None:
    visits = [visit("1a", -50, -40), visit("2b", -9, -8), visit("9z", -8.5, 2)]
    moved = [
        Visit(one.id, one.epn, one.start.astimezone(zone), one.end.astimezone(zone))
        for one in visits
    ]
    assert select([told(*moved)], NOW, 2) == select([told(*visits)], NOW, 2)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=10)), timezone(timedelta(hours=-9))]
)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)),
        (datetime(1, 1, 1), datetime(2026, 11, 24, 10)),
        (datetime(2026, 11, 1), datetime(9999, 12, 31, 23, 59)),
        (datetime(9999, 12, 31), datetime(9999, 12, 31, 23, 59)),
    ],
)
def test_an_absurd_time_at_the_portal_stops_no_run(
    start: datetime, end: datetime, zone: timezone
) -> None:
    absurd = Visit("1", Epn("9z"), start.replace(tzinfo=zone), end.replace(tzinfo=zone))
    found = select([told(visit("1a", -50, -40)), told(absurd, equipment=24)], NOW, 30)
    assert isinstance(found, Selection)


@settings(max_examples=40)
@given(answers, st.integers(1, 60))
def test_no_epn_with_a_visit_in_the_range_is_lost(found: list[EquipmentVisits], days: int) -> None:
    selection = select(found, NOW, days)
    told_of = {one.epn.text for answer in found for one in answer.visits
               if one.start <= hours(1) and one.end >= NOW - timedelta(days=days)}  # fmt: skip
    assert told_of <= {*chosen(selection), *left(selection)}
    assert not set(chosen(selection)) & set(left(selection))


@settings(max_examples=40)
@given(answers, st.integers(1, 60))
def test_a_visit_that_is_told_twice_counts_once(found: list[EquipmentVisits], days: int) -> None:
    assert select([*found, *found], NOW, days) == select(found, NOW, days)


@settings(max_examples=40)
@given(answers, st.integers(1, 60), epns)
def test_one_more_running_visit_never_lets_more_be_fetched(
    found: list[EquipmentVisits], days: int, epn: str
) -> None:
    before = set(chosen(select(found, NOW, 10_000)))
    after = chosen(select([*found, told(visit(epn, -1, 1))], NOW, 10_000))
    assert set(after) <= before - {epn}


STAYS_DUE = {
    Left.NO_PROJECT_FOLDER, Left.SAME_DESTINATION, Left.CLAIMED, Left.ABSENT, Left.UNLISTED,
    Left.DESTINATION, Left.ODD_SOURCE, Left.NO_SPACE, Left.NO_INODES, Left.UNREADABLE,
    Left.INCOMPLETE, Left.NO_COPY,
}  # fmt: skip


@pytest.mark.parametrize("reason", list(Left))
def test_which_reasons_keep_an_experiment_due(reason: Left) -> None:
    assert reason.stays_due == (reason in STAYS_DUE)
    assert str(LeftOut(Epn("1a"), reason, "why")) == f"{reason.text}: why"


@pytest.mark.parametrize(("ignored", "there"), [(True, True), (True, False)])
def test_what_is_ignored_needs_neither_folder_nor_claim(ignored: bool, there: bool) -> None:
    history = History(claim=Claim("node7", 4711, NOW, NOW))
    found = decided(ignored=ignored, history=history, there=there)
    assert isinstance(found, LeftOut) and found.reason is Left.IGNORED


def test_the_proposal_is_mapped_to_the_letter() -> None:
    rules = Rules(
        {"0123": "a", "123": "b"}, "/data/{epn}", Path("/p"), "{project}/{beamline}/{epn}"
    )
    copies = [
        map_to_project(Candidate(Experiment("mx", Epn(text)), NOW), rules)
        for text in ("0123a", "123a", "00123a")
    ]
    assert [found.destination if isinstance(found, Copy) else found.reason for found in copies] == [
        Path("/p/a/mx/0123a"),
        Path("/p/b/mx/123a"),
        Left.UNMAPPED,
    ]


def test_what_is_at_home_already_needs_no_room() -> None:
    assert isinstance(after_listing(Due(COPY, Why.AGAIN), survey(), Room(0, 0)), Transfer)


def test_a_refusal_says_how_much_and_never_a_negative_number() -> None:
    found = after_listing(Due(COPY, Why.NEW), survey(files=1, size=2000), Room(-5, -5))
    assert isinstance(found, LeftOut)
    assert str(found) == "not enough free space: 2.00 kB to write, 0 B free for it"
    found = after_listing(Due(COPY, Why.NEW), survey(files=2), Room(0, -5))
    assert isinstance(found, LeftOut)
    assert found.detail == "2 files and folders to write, 0 free for them"


def test_a_failure_tells_the_engines_reason() -> None:
    assert judge(result(ok=False), survey(), None, unsure=None).reason == "broken"


def test_the_reason_of_a_transfer_that_may_not_count_is_told() -> None:
    found = judge(result(), survey(), survey(), unsure="the portal is down")
    assert found.reason == "all of it is at home, but the portal is down"
