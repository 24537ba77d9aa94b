"""What a cycle leaves alone, in sentences, and what needs a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from asynchy.model.copy_record import Presence, Replaced
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import UNCOMPARED, DueNote, ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.plan_overview import attention, long_visits, named, overview_of, sentences
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.visit import Beamtime
from tests.tools.records import (
    NOW,
    copy_of,
    experiment_of,
    hours,
    old_place,
    policy_of,
    record_of,
    visit,
    wanted,
)

LOSSES = "the facility no longer lists 1 file (9 B): a; …"


def ended(epn: str, **changes: Any) -> ExperimentRecord:
    return record_of(visit(epn, -17, -9), epn=epn, **changes)


def states(*records: ExperimentRecord, **changes: Any) -> list[ExperimentState]:
    policy = policy_of(*records, **changes)
    return [experiment_state(record, policy) for record in records]


def copies(epn: str, **changes: Any) -> dict[str, Any]:
    return {"copies": (copy_of(wanted(experiment_of(epn)), **changes),)}


def test_states_are_counted_and_what_is_at_another_place_or_outside_or_shrunk_is_named() -> None:
    elsewhere = ended("1a", copies=(copy_of(old_place(experiment_of("1a"))),))
    shrunk = ended("1b", **copies("1b", losses=LOSSES))
    found = overview_of(
        states(
            elsewhere, shrunk, record_of(epn="1c"), record_of(epn="2d"), ended("2e"), ended("77a"),
            ignored={"1a": IgnoreEntry(Origin.OURS, NOW)},
        )
    )  # fmt: skip
    assert found.counts == {
        State.AT_HOME: 2, State.OUTSIDE: 2, State.DUE: 1, State.UNOWNED: 1,
    }  # fmt: skip
    assert sentences(found) == [
        "2 experiments are visible at the SFTP service and ours, but in no visit that the portal "
        "reports: 1c (mx), 2d (mx). `fetch-visible: true` fetches what is visible.",
        "1a (mx) is complete at another place: in /old/mx/1a",
        f"1b (mx): {LOSSES}",
    ]


def test_of_what_needs_nothing_there_is_no_sentence() -> None:
    assert sentences(overview_of(states(ended("1a"), ended("1b", **copies("1b"))))) == []
    assert sentences(overview_of([])) == []


def test_one_that_is_outside_is_said_in_the_singular() -> None:
    (said,) = sentences(overview_of(states(record_of(epn="1c"))))
    assert said.startswith("1 experiment is visible")


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "n0"), (10, "n8, n9"), (11, "n9 and 1 more"), (1234, "n9 and 1,224 more")],
)
def test_ten_names_are_told_and_the_others_counted(number: int, text: str) -> None:
    assert named([f"n{at}" for at in range(number)]).endswith(text)


def test_nothing_needs_attention_that_settles_by_itself_or_has_a_part_of_its_own() -> None:
    fine = states(
        ended("1a"),
        ended("1b", **copies("1b")),
        ended("77a"),
        record_of(epn="1c"),
        ended("1d", released=hours(-1)),
        ended("1e", vanished=hours(-1), **copies("1e")),
        record_of(visit("2a", -1, 1), epn="2a"),
    )
    assert attention(fine, NOW) == ()


def test_what_needs_a_person_is_said_with_its_name_and_reason() -> None:
    found = states(
        ended("1a", problem="/data/mx/1a: a link to /x, which is missing"),
        ended("1b", **copies("1b", damaged=2)),
        ended("1c", **copies("1c", presence=Presence.MISSING)),
        ended("1d", vanished=hours(-1)),
    )
    assert attention(found, NOW) == (
        "1a (mx): what is in its place at the facility is not a folder: "
        "/data/mx/1a: a link to /x, which is missing",
        "1b (mx): files are missing or damaged: 2 files damaged at home; `asynchy verify` repairs "
        "that, or says what is in the way",
        "1c (mx): its copy is not at home: /projects/ny79/mx/1c/data is missing",
        "1d (mx): gone from the facility, and not complete at home: since "
        f"{found[3].reason.removeprefix('since ')}",
    )


def test_a_mount_that_is_missing_is_named_once() -> None:
    gone = [ended(epn, **copies(epn, presence=Presence.UNMOUNTED)) for epn in ("1a", "1b", "2c")]
    assert attention(states(*gone), NOW) == (
        "/projects/ny79 is missing, or has no copy: is it mounted? (2 experiments)",
        "/projects/kx12 is missing, or has no copy: is it mounted?",
    )


def test_what_was_gone_before_it_was_compared_is_named_in_one_sentence() -> None:
    def gone(*epns: str) -> tuple[str, ...]:
        note = DueNote("ny79", hours(-5), hours(-5), f"{UNCOMPARED}: /projects/ny79")
        lost = [ended(epn, vanished=hours(-6), note=note) for epn in epns]
        return attention(states(*lost), NOW)

    why = "what is at home was not compared before it was gone from the facility"
    assert gone("1a") == (f"1a (mx): {why}: /projects/ny79",)
    assert gone("1a", "1b") == (
        f"2 experiments: {why}: 1a (mx), 1b (mx) (`asynchy status` has all)",
    )


@pytest.mark.parametrize(("days", "told"), [(0, True), (13.9, True), (14, False)])
def test_what_the_facility_lost_is_repeated_for_two_weeks(days: float, told: bool) -> None:
    item = ended("1a", **copies("1a", losses=LOSSES))
    later = hours(-5) + timedelta(days=days)
    assert attention(states(item), later) == ((f"1a (mx): {LOSSES}",) if told else ())


@pytest.mark.parametrize("by_less", [0, 1])
def test_a_file_that_was_replaced_is_named_once_and_needs_a_person_if_it_has_less_now(
    by_less: int,
) -> None:
    item = ended("1a", **copies("1a", replaced=Replaced(2, 9, by_less), replaced_at=NOW))
    found = states(item)
    assert len(attention(found, NOW)) == by_less
    assert len(sentences(overview_of(found), shrunk=False)) == 1 - by_less


def test_what_was_never_visible_is_not_named_as_visible() -> None:
    found = states(record_of(epn="1c", source="", visible=False, completed_elsewhere=True))
    assert [item.state for item in found] == [State.OUTSIDE]
    assert sentences(overview_of(found)) == []


def test_an_experiment_without_a_beamline_is_named_without_one() -> None:
    bare = record_of(experiment=Experiment("", experiment_of("1c").epn))
    (said,) = sentences(overview_of(states(bare)))
    assert "reports: 1c. " in said


def long(*records: ExperimentRecord, running: tuple[Beamtime, ...], days: float) -> tuple[str, ...]:
    policy = policy_of(*records, more=running)
    found = [experiment_state(record, policy) for record in records]
    return long_visits(found, policy, timedelta(days=days))


def test_a_visit_that_runs_for_long_is_named_with_what_it_holds_back() -> None:
    running = visit("2z", -100, 2, "saxs")
    held = record_of(visit("1a", -17, -9)), record_of(visit("2z", -200, -150), epn="2z")
    free = record_of(visit("1b", -300, -200), epn="1b")
    assert long(*held, free, running=(running,), days=5) == ()
    (said,) = long(*held, free, running=(running,), days=4)
    assert said.startswith("A visit of 2z on saxs has been running since 2026-11-20")
    assert "It holds back 2 experiments: 1a (mx), 2z (mx)." in said
    assert "ask the facility" in said


def test_several_long_visits_are_each_named_with_what_they_hold_back() -> None:
    first, second = visit("2y", -200, 2), visit("2z", -100, 2, "saxs")
    both, one = record_of(visit("1a", -17, -9)), record_of(visit("1b", -160, -150), epn="1b")
    own = record_of(visit("2z", -300, -250), epn="2z")
    said = long(both, one, own, running=(second, first), days=1)
    assert [text.partition(" has been")[0] for text in said] == [
        "A visit of 2y on mx",
        "A visit of 2z on saxs",
    ]
    assert "It holds back 2 experiments: 1a (mx), 1b (mx)." in said[0]
    assert "It holds back 2 experiments: 1a (mx), 2z (mx)." in said[1]


def test_a_long_visit_holds_back_what_came_after_a_complete_copy() -> None:
    later = record_of(
        visit("1a", -300, -250), visit("1a", -17, -9), **copies("1a", listed=hours(-240))
    )
    assert states(later, more=(visit("2y", -200, 2),))[0].state is State.WAITING
    (said,) = long(later, running=(visit("2y", -200, 2),), days=1)
    assert "It holds back 1 experiment: 1a (mx)." in said


def test_a_long_visit_that_holds_nothing_back_is_not_named() -> None:
    free = record_of(visit("1b", -300, -250), epn="1b")
    assert long(free, running=(visit("2y", -200, 2),), days=1) == ()


@pytest.mark.parametrize("complete", [True, False])
def test_a_long_visit_of_equipment_out_of_the_config_is_named(complete: bool) -> None:
    running = replace(visit("1a", -100, 900), asked=False)
    record = record_of(running, **(copies("1a") if complete else {}))
    assert long(record, running=(), days=5) == ()
    (said,) = long(record, running=(), days=4)
    assert said.startswith("A visit of 1a (mx) has been running since 2026-11-20")
    assert "on equipment that is no longer in `equipment`. It holds nothing back." in said
    over = replace(visit("1a", -100, -1), asked=False)
    assert long(replace(record, beamtimes=(over,)), running=(), days=4) == ()


def test_what_only_a_listing_finds_needs_a_person_by_the_note_of_it() -> None:
    def noted(reason: str) -> tuple[str, ...]:
        note = DueNote("one", hours(-5), hours(-1), reason)
        return attention(states(ended("1a", note=note)), NOW)

    (said,) = noted("there is no such folder at the facility: /data/mx/1a")
    assert said == "1a (mx): there is no such folder at the facility: /data/mx/1a"
    assert noted("the project folder is not there: /projects/one") == (
        "/projects/one is missing, or has no copy: is it mounted?",
    )
    assert noted("could not be listed at the facility: no answer") == ()
    assert noted("rsync ended with 23") == ()
