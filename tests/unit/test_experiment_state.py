"""The state of an experiment: every rule, in the order in which the rules count."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asynchy.alerting.content import unknown_epns
from asynchy.model.copy_record import CopyRecord, CopyState, Presence, copy_state
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import UNREADABLE, DueNote, ExperimentRecord, combine
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.formatting import moment
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.model.policy import (
    DestinationRules,
    IgnoreEntry,
    Origin,
    Policy,
    RecheckPolicy,
    owners_of,
    running_visits,
)
from asynchy.model.visit import Beamtime, Visit
from asynchy.model.visit_span import ask_since
from asynchy.repatriation.due_rules import planned
from asynchy.reporting.next_steps import next_step
from tests.tools.records import (
    CLAIM,
    EPNS,
    NOW,
    RULES,
    completed_now,
    copy_of,
    experiment_of,
    failed,
    hours,
    known,
    old_place,
    policy_of,
    record_of,
    visit,
    visit_lists,
    wanted,
    worlds,
)

ENDED = visit("1a", -17, -9)
HERE, OLD = wanted(experiment_of()), old_place(experiment_of())
OURS = IgnoreEntry(Origin.OURS, hours(-5))
REMOVED = IgnoreEntry(Origin.REMOVED, hours(-3))
ORIGINALS = IgnoreEntry(Origin.ORIGINAL, hours(-1))


def state(record: ExperimentRecord, *others: Beamtime, **changes: Any) -> ExperimentState:
    """The state of an experiment; `others` are visits of other EPNs or beamlines."""
    return experiment_state(record, policy_of(record, more=others, **changes))


def told(found: ExperimentState) -> tuple[State, SkipReason | DueReason | None]:
    """The state, and why it is not fetched or why it is."""
    return found.state, found.left or found.why


# Released, skipped, unowned


def test_what_a_person_released_needs_no_transfer_until_something_new_is_there() -> None:
    record = record_of(ENDED, released=hours(-5), release_reason="measured again")
    found = state(record)
    assert (found.state, found.left, planned(found)) == (State.RELEASED, None, None)
    assert "measured again" in found.reason
    assert state(replace(record, released=hours(-9.5))).state is State.DUE  # a visit ended since
    assert state(replace(record, changed=hours(-1))).state is State.DUE
    assert state(replace(record, modified=hours(-1))).state is State.DUE


def test_a_release_by_a_clock_that_was_ahead_does_not_count() -> None:
    record = record_of(ENDED, released=hours(400), release_reason="measured again")
    assert told(state(record)) == (State.DUE, DueReason.NEW)


def test_by_a_clock_that_may_be_behind_nothing_that_was_stored_is_in_the_future() -> None:
    copy = copy_of(HERE, 400)
    found = state(record_of(ENDED, copies=(copy,)), clock_is_right=False)
    assert found.state is State.AT_HOME
    released = record_of(ENDED, released=hours(400))
    assert state(released, clock_is_right=False).state is State.RELEASED


@pytest.mark.parametrize("place", [HERE, OLD])
def test_a_copy_that_was_compared_by_a_clock_that_was_ahead_is_compared_again(place: Copy) -> None:
    """Otherwise every visit that ends until then would be taken for fetched."""
    copy = copy_of(place, 400)
    record = record_of(ENDED, copies=(copy,))
    found = state(record)
    assert told(found) == (State.DUE, DueReason.CLOCK)
    assert found.wanted is not None
    assert found.wanted.destination == place.destination  # nothing is fetched twice
    assert copy_state(copy, record.beamtimes, None, NOW) is CopyState.STALE
    gone = state(replace(record, vanished=hours(-1)))
    assert told(gone) == (State.GONE, SkipReason.LOST)  # nobody knows whether all of it came
    soon = copy_of(place, 0.01)  # clocks may differ by seconds
    assert state(record_of(ENDED, copies=(soon,))).state is State.AT_HOME


@pytest.mark.parametrize("copies", [(), (copy_of(HERE, None),), (copy_of(HERE),)])
def test_an_entry_of_a_person_always_skips(copies: tuple[CopyRecord, ...]) -> None:
    entry = IgnoreEntry(Origin.PERSON, hours(-99))
    record = record_of(ENDED, copies=copies, changed=hours(-1))
    found = state(record, ignored={"1a": entry}, recheck=RecheckPolicy(NOW, timedelta(hours=1)))
    assert told(found) == (State.SKIPPED, SkipReason.IGNORED)
    assert planned(found) is None


def compared_for_sync() -> CopyRecord:
    """A copy that lacks something, below the destination of an `asynchy sync`."""
    made = copy_of(HERE, None)
    return replace(made, copy=replace(made.copy, project=""))


@pytest.mark.parametrize(
    ("since", "copies", "result"),
    [
        (-8, (), (State.SKIPPED, SkipReason.IGNORED)),
        (-8, (replace(copy_of(HERE, None), files=None),), (State.SKIPPED, SkipReason.IGNORED)),
        (-8, (copy_of(HERE, None),), (State.DUE, DueReason.AGAIN)),  # compared, and not complete
        (-8, (compared_for_sync(),), (State.SKIPPED, SkipReason.IGNORED)),
        (-10, (), (State.DUE, DueReason.NEW)),  # a visit has ended since it was written
        (-8, (copy_of(HERE),), (State.AT_HOME, None)),  # completed here: what we know counts
        (-8, (copy_of(HERE, -11),), (State.DUE, DueReason.RETURNED)),
    ],
)
def test_an_entry_of_the_original_skips_until_the_facility_was_touched(
    since: float,
    copies: tuple[CopyRecord, ...],
    result: tuple[State, SkipReason | DueReason | None],
) -> None:
    entry = IgnoreEntry(Origin.ORIGINAL, hours(since))
    assert told(state(record_of(ENDED, copies=copies), ignored={"1a": entry})) == result


@pytest.mark.parametrize(
    ("completed", "attempts", "entry", "result"),
    [
        (None, 0, None, (State.DUE, DueReason.NEW)),
        (None, 0, OURS, (State.DUE, DueReason.NEW)),
        (None, 2, None, (State.DUE, DueReason.AGAIN)),
        (None, 2, OURS, (State.DUE, DueReason.AGAIN)),
        (-5, 1, None, (State.AT_HOME, None)),
        (-5, 1, OURS, (State.AT_HOME, None)),
        (-9, 1, OURS, (State.AT_HOME, None)),
        (-10, 1, OURS, (State.DUE, DueReason.RETURNED)),
        (-5, 1, REMOVED, (State.DUE, DueReason.REMOVED)),
        (-2, 1, REMOVED, (State.AT_HOME, None)),  # it was fetched again since
        (None, 1, REMOVED, (State.DUE, DueReason.AGAIN)),
    ],
)
def test_an_entry_of_ours_is_a_note_about_our_copies_and_skips_nothing(
    completed: float | None,
    attempts: int,
    entry: IgnoreEntry | None,
    result: tuple[State, SkipReason | DueReason | None],
) -> None:
    copies = (copy_of(HERE, completed, attempts=attempts),) if attempts else ()
    ignored = {"1a": entry} if entry else {}
    assert told(state(record_of(ENDED, copies=copies), ignored=ignored)) == result


def test_an_entry_counts_for_its_epn_alone() -> None:
    entry = IgnoreEntry(Origin.PERSON, NOW)
    assert state(record_of(ENDED), ignored={"1b": entry}).state is State.DUE


def test_a_proposal_without_a_project_waits_for_a_person() -> None:
    found = state(record_of(visit("99999a", -17, -9), epn="99999a"))
    assert told(found) == (State.UNOWNED, SkipReason.UNMAPPED)
    assert found.needs_person and (found.project, found.wanted) == (None, None)
    assert found.reason == "proposal 99999"
    left = planned(found)
    assert isinstance(left, Skipped) and not left.reason.ends_well


def unmapped(record: ExperimentRecord, **changes: Any) -> ExperimentState:
    """Its state once the mapping no longer names its proposal."""
    return state(record, rules=replace(RULES, epn_cap_map={}), **changes)


def test_a_complete_copy_whose_project_is_no_longer_mapped_is_at_home() -> None:
    late = RecheckPolicy(NOW, timedelta(hours=1))
    found = unmapped(record_of(ENDED, copies=(copy_of(HERE),)), recheck=late)
    assert (found.state, found.is_mapped, found.is_elsewhere) == (State.AT_HOME, False, False)
    assert found.reason == f"in {HERE.destination}; epn_cap_map no longer names proposal 1"
    assert planned(found) is None and unknown_epns([found]) == {}
    step = next_step(found, "c.yml")
    assert step is not None and "map add 1 PROJECT" in step


@pytest.mark.parametrize(
    ("copy", "result"),
    [
        (copy_of(HERE, -11), (State.UNOWNED, SkipReason.UNMAPPED)),  # a visit has ended since
        (copy_of(HERE, None), (State.UNOWNED, SkipReason.UNMAPPED)),
        (
            copy_of(OLD),
            (State.UNOWNED, SkipReason.UNMAPPED),
        ),  # brought by `asynchy sync`, to no project
        (copy_of(HERE, presence=Presence.MISSING), (State.DUE, SkipReason.COPY_MISSING)),
        (copy_of(HERE, damaged=1), (State.DUE, SkipReason.DAMAGED)),
    ],
)
def test_a_copy_that_is_not_whole_and_no_longer_mapped_needs_a_person(
    copy: CopyRecord, result: tuple[State, SkipReason]
) -> None:
    found = unmapped(record_of(ENDED, copies=(copy,)))
    assert told(found) == result
    assert found.needs_person


def test_a_running_visit_of_an_epn_that_is_no_longer_mapped_belongs_to_no_project() -> None:
    record = record_of(ENDED, visit("1a", -2, 2), copies=(copy_of(HERE),))
    assert unmapped(record).state is State.UNOWNED


def test_the_proposal_is_mapped_to_the_letter() -> None:
    rules = DestinationRules(
        {"0123": "a", "123": "b"}, "/data/{epn}", Path("/p"), "{project}/{beamline}/{epn}"
    )
    found = {
        epn: state(record_of(visit(epn, -17, -9), epn=epn), rules=rules)
        for epn in ("0123a", "123a", "00123a")
    }
    places = {epn: item.wanted and item.wanted.destination for epn, item in found.items()}
    assert places == {"0123a": Path("/p/a/mx/0123a"), "123a": Path("/p/b/mx/123a"), "00123a": None}
    assert found["00123a"].state is State.UNOWNED


@pytest.mark.parametrize(
    ("known_source", "source"),
    [("", "/data/mx/1a"), ("/data/MX/1A", "/data/MX/1A"), ("/archive/1a", "/archive/1a")],
)
def test_a_copy_is_fetched_from_the_path_where_it_was_seen_as_the_facility_spells_it(
    known_source: str, source: str
) -> None:
    found = state(record_of(ENDED, source=known_source))
    due = planned(found)
    assert isinstance(due, DueCopy) and due.copy == found.wanted
    assert due.copy.source == source
    assert due.copy.destination == Path("/projects/ny79/mx/1a/data")
    assert due.copy.project_folder == Path("/projects/ny79")


# Visits


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (0.5, 8), (1, 9), (-3, 0)])
@pytest.mark.parametrize("beamline", ["mx", "saxs"])
def test_a_current_visit_on_any_beamline_holds_the_epn_back(
    start: float, end: float, beamline: str
) -> None:
    current = visit("1a", start, end, beamline)
    mine, others = ([current], []) if beamline == "mx" else ([], [current])
    found = state(record_of(ENDED, *mine), *others)
    assert told(found) == (State.WAITING, SkipReason.RUNNING)
    assert found.reason.startswith(f"since {moment(hours(start))}")
    assert found.project == "ny79" and not found.needs_person


def test_a_visit_beyond_the_hour_is_not_current() -> None:
    assert state(record_of(ENDED, visit("1a", 1.5, 9))).state is State.DUE


@pytest.mark.parametrize(
    ("end", "result"),
    [
        (-8.001, (State.DUE, DueReason.NEW)),
        (-8, (State.WAITING, SkipReason.LATER)),
        (-0.001, (State.WAITING, SkipReason.LATER)),
    ],
)
def test_only_what_ended_before_the_earliest_current_visit_began_is_fetched(
    end: float, result: tuple[State, SkipReason | DueReason]
) -> None:
    running = visit("2b", -8, 2, "saxs")
    assert told(state(record_of(visit("1a", -100, end)), running)) == result


def test_an_earlier_visit_is_fetched_though_a_later_one_has_to_wait() -> None:
    running = visit("2b", -8, 2)
    assert told(state(record_of(visit("1a", -90, -80), visit("1a", -9, -7)), running)) == (
        State.DUE,
        DueReason.NEW,
    )


@pytest.mark.parametrize("listed", [-70, -7.5])
def test_a_copy_is_not_at_home_while_a_later_visit_of_it_has_to_wait(listed: float) -> None:
    visits = visit("1a", -90, -80), visit("1a", -9, -7)
    record = record_of(*visits, copies=(copy_of(HERE, listed),))
    assert told(state(record, visit("2b", -8, 2))) == (State.WAITING, SkipReason.LATER)
    assert told(state(record)) == (State.DUE, DueReason.RETURNED)


def test_a_visit_that_begins_within_the_hour_moves_no_reference() -> None:
    assert state(record_of(visit("1a", -9, -0.01)), visit("2b", 0.9, 3)).state is State.DUE


def test_what_was_never_measured_waits_for_its_visit() -> None:
    assert told(state(record_of(visit("1a", 30, 40)))) == (State.WAITING, SkipReason.NOT_BEGUN)


@pytest.mark.parametrize("ends", [(-80, -40, -60), (-40, -60, -80), (-80, -60, -40)])
def test_the_latest_visit_that_ended_counts_whatever_the_order(ends: tuple[float, ...]) -> None:
    visits = [visit("1a", end - 8, end) for end in ends]
    assert told(state(record_of(*visits, copies=(copy_of(HERE, -41),)))) == (
        State.DUE,
        DueReason.RETURNED,
    )
    assert state(record_of(*visits, copies=(copy_of(HERE, -40),))).state is State.AT_HOME


def test_the_same_epn_on_two_beamlines_is_two_experiments() -> None:
    saxs = experiment_of("1a", "saxs")
    records = combine(
        [record_of(copies=(copy_of(HERE),)), record_of(experiment=saxs)],
        [ENDED, visit("1a", -30, -20, "saxs")],
    )
    found = [experiment_state(one, policy_of(*records)) for one in records]
    assert [(one.experiment, one.state) for one in found] == [
        (experiment_of(), State.AT_HOME),
        (saxs, State.DUE),
    ]


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=11)), timezone(timedelta(hours=-9))])
def test_the_zone_of_a_time_does_not_matter(zone: timezone) -> None:
    def moved(item: Beamtime) -> Beamtime:
        one = item.visit
        start, end = one.start.astimezone(zone), one.end.astimezone(zone)
        return replace(item, visit=replace(one, start=start, end=end))

    items = [visit("1a", -50, -40), visit("1a", -9, -7)]
    running = visit("2b", -8.5, 2)
    here = state(record_of(*items), running)
    there = state(record_of(*map(moved, items)), moved(running))
    assert (told(here), here.reason) == (told(there), there.reason)


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
    absurd = Visit("1", Epn("2b"), start.replace(tzinfo=zone), end.replace(tzinfo=zone))
    record = record_of(visit("1a", -50, -40))
    recheck = RecheckPolicy(NOW, timedelta(days=9))
    found = state(record, Beamtime(absurd, "mx"), recheck=recheck)
    assert found.state in (State.DUE, State.WAITING)
    assert ask_since([Beamtime(absurd, "mx")], None, NOW, 30) < NOW


# The copy at home


def test_what_is_due_waits_for_the_process_that_works_on_it() -> None:
    found = state(record_of(ENDED, copies=(copy_of(HERE, None, claim=CLAIM),)))
    assert told(found) == (State.DUE, SkipReason.CLAIMED) and found.why is DueReason.AGAIN
    assert "process 4711 on node7" in found.reason
    skipped = IgnoreEntry(Origin.PERSON, NOW)
    assert state(found.record, ignored={"1a": skipped}).state is State.SKIPPED


def test_a_copy_that_is_verified_meanwhile_is_at_home() -> None:
    assert state(record_of(ENDED, copies=(copy_of(HERE, claim=CLAIM),))).state is State.AT_HOME


def test_something_new_that_was_seen_at_the_facility_makes_it_due() -> None:
    record = record_of(ENDED, copies=(copy_of(HERE),), changed=hours(-4))
    assert told(state(record)) == (State.DUE, DueReason.CHANGED)
    assert state(replace(record, changed=hours(-5))).state is State.AT_HOME


@pytest.mark.parametrize("claim", [None, CLAIM])
def test_a_later_attempt_that_failed_makes_a_complete_copy_due(claim: Any) -> None:
    copy = copy_of(HERE, -5, last=failed(-4), claim=claim)
    found = state(record_of(ENDED, copies=(copy,)))
    assert found.state is State.DUE and found.why is DueReason.AGAIN
    confirmed = replace(copy, completed=hours(-3))
    assert state(record_of(ENDED, copies=(confirmed,))).state is State.AT_HOME


@pytest.mark.parametrize("entry", [None, OURS])
def test_a_suspect_copy_is_due_whatever_we_wrote(entry: IgnoreEntry | None) -> None:
    copy = copy_of(HERE, None, suspect=True, damaged=1)
    ignored = {"1a": entry} if entry else {}
    assert told(state(record_of(ENDED, copies=(copy,)), ignored=ignored)) == (
        State.DUE,
        DueReason.DIFFERENT,
    )


def test_files_that_an_audit_found_damaged_need_a_person() -> None:
    found = state(record_of(ENDED, copies=(copy_of(HERE, damaged=3),)))
    assert told(found) == (State.DUE, SkipReason.DAMAGED) and found.needs_person
    left = planned(found)
    assert isinstance(left, Skipped) and "3 files" in str(left) and "asynchy verify" in str(left)


@pytest.mark.parametrize("presence", [one for one in Presence if one is not Presence.THERE])
@pytest.mark.parametrize("suspect", [False, True])
def test_a_copy_that_is_not_at_its_place_needs_a_person(presence: Presence, suspect: bool) -> None:
    copy = copy_of(HERE, None if suspect else -5, suspect=suspect, presence=presence)
    found = state(record_of(ENDED, copies=(copy,)))
    left = SkipReason.UNMOUNTED if presence is Presence.UNMOUNTED else SkipReason.COPY_MISSING
    assert told(found) == (State.DUE, left) and found.needs_person
    if presence is Presence.UNMOUNTED:
        assert found.reason == "/projects/ny79"  # one sentence for all experiments below it
    else:
        assert found.reason == f"{HERE.destination} {presence.value}"


def test_a_copy_that_was_never_complete_may_be_missing() -> None:
    copy = copy_of(HERE, None, presence=Presence.MISSING)
    assert told(state(record_of(ENDED, copies=(copy,)))) == (State.DUE, DueReason.AGAIN)


@pytest.mark.parametrize(("after", "due"), [(8.9, True), (9, True), (9.1, False)])
def test_a_complete_copy_is_listed_once_more_when_its_time_has_come(
    after: float, due: bool
) -> None:
    recheck = RecheckPolicy(NOW, timedelta(hours=after))
    record = record_of(ENDED, copies=(copy_of(HERE, -5),))
    found = state(record, recheck=recheck)
    assert told(found) == ((State.DUE, DueReason.LATE) if due else (State.AT_HOME, None))
    later = replace(record, copies=(copy_of(HERE, min(after - 9 + 0.0001, 0)),))
    assert state(later, recheck=recheck).state is State.AT_HOME


@given(end=st.floats(-1000, -1), listed=st.floats(-1000, 0), days=st.integers(1, 30))
def test_a_second_look_is_due_until_a_listing_was_made_that_long_after_the_visit(
    end: float, listed: float, days: int
) -> None:
    record = record_of(visit("1a", end - 8, end), copies=(copy_of(HERE, listed),))
    found = state(record, recheck=RecheckPolicy(NOW, timedelta(days=days)))
    came = hours(end) + timedelta(days=days)
    if hours(listed) < hours(end):
        assert told(found) == (State.DUE, DueReason.RETURNED)
    elif hours(listed) < came <= NOW:
        assert told(found) == (State.DUE, DueReason.LATE)
    else:
        assert told(found) == (State.AT_HOME, None)


def test_a_second_look_waits_while_a_visit_ended_after_the_earliest_current_one_began() -> None:
    visits = visit("1a", -250, -240), visit("1a", -190, -170)
    record = record_of(*visits, copies=(copy_of(HERE, -100),))
    recheck = RecheckPolicy(NOW, timedelta(days=7))
    assert told(state(record, recheck=recheck)) == (State.DUE, DueReason.LATE)
    assert state(record, visit("2b", -175, 2), recheck=recheck).state is State.AT_HOME


# A copy at another place


@pytest.mark.parametrize(
    ("changes", "entry", "result"),
    [
        ({}, OURS, (State.AT_HOME, None)),
        ({"claim": CLAIM}, OURS, (State.AT_HOME, None)),
        ({"completed": hours(-10), "listed": hours(-10)}, OURS, (State.DUE, DueReason.RETURNED)),
        ({"last": failed(-4)}, OURS, (State.DUE, DueReason.NEW)),
        ({"damaged": 1}, OURS, (State.DUE, SkipReason.DAMAGED)),
        ({"presence": Presence.MISSING}, OURS, (State.DUE, SkipReason.COPY_MISSING)),
        ({}, None, (State.AT_HOME, None)),
        ({}, ORIGINALS, (State.AT_HOME, None)),
        ({}, REMOVED, (State.DUE, DueReason.REMOVED)),
        ({"completed": None, "suspect": True}, OURS, (State.DUE, DueReason.NEW)),
    ],
)
def test_a_copy_that_we_completed_elsewhere_counts_while_nothing_newer_is_known(
    changes: dict[str, Any],
    entry: IgnoreEntry | None,
    result: tuple[State, SkipReason | DueReason | None],
) -> None:
    record = record_of(ENDED, copies=(replace(copy_of(OLD), **changes),))
    found = state(record, ignored={"1a": entry} if entry else {})
    assert told(found) == result
    assert found.is_elsewhere == (found.state is State.AT_HOME)
    if found.state is State.AT_HOME:
        assert found.reason == "in /old/mx/1a"
    if found.left is None and found.state is State.DUE:
        due = planned(found)
        place = OLD if found.why is DueReason.REMOVED else HERE  # it is compared where it is
        assert isinstance(due, DueCopy) and due.copy.destination == place.destination


def test_what_changed_since_it_was_complete_elsewhere_is_due_at_the_new_place() -> None:
    record = record_of(ENDED, copies=(copy_of(OLD),), changed=hours(-1))
    assert told(state(record, ignored={"1a": OURS})) == (State.DUE, DueReason.CHANGED)


def test_what_was_never_listed_where_it_is_now_is_compared_where_its_copy_is() -> None:
    record = record_of(ENDED, copies=(copy_of(OLD),), changed=hours(-1), listed=hours(-2))
    fetched, compared = (state(one) for one in (record, replace(record, listed=None)))
    assert fetched.why is compared.why is DueReason.CHANGED
    assert (fetched.wanted, compared.wanted) == (HERE, OLD)


def test_a_copy_elsewhere_waits_with_its_experiment_for_a_later_visit() -> None:
    visits = visit("1a", -90, -80), visit("1a", -9, -7)
    record = record_of(*visits, copies=(copy_of(OLD, -70),))
    found = state(record, visit("2b", -8, 2), ignored={"1a": OURS})
    assert told(found) == (State.WAITING, SkipReason.LATER)


def test_a_second_look_at_a_copy_elsewhere_is_taken_where_it_is() -> None:
    record = record_of(ENDED, copies=(copy_of(OLD),))
    found = state(record, ignored={"1a": OURS}, recheck=RecheckPolicy(NOW, timedelta(hours=8)))
    due = planned(found)
    assert isinstance(due, DueCopy) and (due.why, due.copy) == (DueReason.LATE, OLD)
    early = state(record, ignored={"1a": OURS}, recheck=RecheckPolicy(NOW, timedelta(hours=3)))
    assert told(early) == (State.AT_HOME, None)


def test_of_several_copies_elsewhere_one_that_is_there_counts() -> None:
    gone = copy_of(replace(OLD, destination=Path("/a")), presence=Presence.MISSING)
    record = record_of(ENDED, copies=(gone, copy_of(OLD)))
    found = state(record, ignored={"1a": OURS})
    assert found.is_elsewhere and found.copy is not None and found.copy.copy == OLD


def test_an_attempt_at_the_new_place_does_not_hide_the_copy_elsewhere() -> None:
    record = record_of(ENDED, copies=(copy_of(OLD), copy_of(HERE, None)))
    assert state(record, ignored={"1a": OURS}).is_elsewhere
    suspect = copy_of(HERE, None, suspect=True)
    record = replace(record, copies=(copy_of(OLD), suspect))
    assert told(state(record, ignored={"1a": OURS})) == (State.DUE, DueReason.DIFFERENT)


# Gone, links, destinations


@pytest.mark.parametrize(
    ("presence", "left"),
    [(Presence.MISSING, SkipReason.COPY_MISSING), (Presence.UNMOUNTED, SkipReason.UNMOUNTED)],
)
def test_what_is_gone_on_both_sides_needs_a_person_unless_another_copy_is_whole(
    presence: Presence, left: SkipReason
) -> None:
    absent = copy_of(HERE, presence=presence)
    found = state(record_of(ENDED, vanished=hours(-1), copies=(absent,)))
    assert told(found) == (State.GONE, left) and found.needs_person
    two = record_of(ENDED, vanished=hours(-1), copies=(absent, copy_of(OLD)))
    found = state(two)
    assert told(found) == (State.GONE, None) and found.is_settled
    damaged = replace(two, copies=(absent, copy_of(OLD, damaged=1)))
    assert state(damaged).left is left


def test_what_is_gone_and_not_complete_at_home_needs_a_person() -> None:
    for copies in ((), (copy_of(HERE, None),), (copy_of(OLD, None),)):
        found = state(record_of(ENDED, vanished=hours(-1), copies=copies))
        assert told(found) == (State.GONE, SkipReason.LOST)
        assert found.needs_person and not found.is_settled
        assert "and not complete at home" in found.because


@pytest.mark.parametrize("copy", [copy_of(HERE), copy_of(HERE, last=failed(-4)), copy_of(OLD)])
@pytest.mark.parametrize("entry", [None, OURS])
def test_what_is_gone_and_whole_at_home_needs_nothing(
    copy: CopyRecord, entry: IgnoreEntry | None
) -> None:
    record = record_of(ENDED, vanished=hours(-1), copies=(copy,))
    found = state(record, ignored={"1a": entry} if entry else {})
    assert told(found) == (State.GONE, None)
    assert found.is_settled and found.copy == copy and planned(found) is None
    place = "at home" if copy.copy == HERE else "in /old/mx/1a"
    assert found.reason.endswith(f"complete {place}")


@pytest.mark.parametrize("place", [HERE, OLD])
def test_what_changed_before_it_was_gone_is_not_whole_at_home(place: Any) -> None:
    record = record_of(ENDED, vanished=hours(-1), changed=hours(-2), copies=(copy_of(place),))
    found = state(record)
    assert told(found) == (State.GONE, SkipReason.LOST) and found.needs_person


def test_what_is_gone_is_whole_if_a_later_copy_at_another_place_has_what_its_own_lacks() -> None:
    earlier, later = copy_of(HERE, -9), copy_of(OLD, -3, id=2)
    gone = {"changed": hours(-5), "vanished": hours(-1)}
    found = state(record_of(copies=(earlier, later), **gone))
    assert (found.state, found.left, found.copy) == (State.GONE, None, later)
    alone = state(record_of(copies=(earlier,), **gone))
    assert told(alone) == (State.GONE, SkipReason.LOST)


def test_a_visit_since_makes_what_is_gone_due_again() -> None:
    record = record_of(ENDED, vanished=hours(-1), copies=(copy_of(HERE, -10),))
    assert told(state(record)) == (State.DUE, DueReason.RETURNED)


def test_a_link_that_leads_nowhere_is_named_if_its_experiment_is_due() -> None:
    record = record_of(ENDED, problem="/data/mx/1a: leads to /x, which does not exist")
    found = state(record)
    assert told(found) == (State.DUE, SkipReason.NOT_A_FOLDER) and found.needs_person
    assert found.reason == record.problem
    at_home = state(replace(record, copies=(copy_of(HERE),)))
    assert told(at_home) == (State.DUE, SkipReason.NOT_A_FOLDER) and at_home.needs_person
    assert "what it had before is complete at home" in at_home.reason
    gone = replace(record, copies=(copy_of(HERE),), vanished=hours(-1))
    assert told(state(gone)) == (State.GONE, None)


def test_a_place_with_another_experiments_copy_is_left_alone() -> None:
    other = experiment_of("1a", "saxs")
    found = state(record_of(ENDED), owners={str(HERE.destination): other})
    assert told(found) == (State.DUE, SkipReason.SAME_DESTINATION)
    assert found.reason == (
        f"{HERE.destination} belongs to 1a (saxs); put {{beamline}} into destination-path"
    )
    assert found.needs_person


# What was never asked for


def test_what_is_visible_alone_is_outside_and_named() -> None:
    found = state(record_of())
    assert told(found) == (State.OUTSIDE, None)
    assert planned(found) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"mailed": True},
        {"note": DueNote("ny79", hours(-9), hours(-1), "x")},
        {"copies": (copy_of(HERE, None),)},
        {"beamtimes": (ENDED,)},
    ],
    ids=["mailed", "noted", "tried", "told"],
)
def test_what_was_told_mailed_noted_or_tried_once_stays_due(changes: dict[str, Any]) -> None:
    assert state(record_of(**changes)).state is State.DUE


def test_fetch_visible_makes_all_that_is_visible_due() -> None:
    assert told(state(record_of(), fetch_visible=True)) == (State.DUE, DueReason.NEW)


def test_a_copy_elsewhere_of_what_no_visit_was_told_of_is_at_home() -> None:
    found = state(record_of(copies=(copy_of(OLD),)))
    assert (found.state, found.is_elsewhere) == (State.AT_HOME, True)


def test_an_entry_of_the_original_skips_its_own_beamline_alone() -> None:
    entries = {"ignored": {"1a": ORIGINALS}, "original_beamline": "mx"}
    assert state(record_of(ENDED), **entries).state is State.SKIPPED
    saxs = record_of(ENDED, experiment=experiment_of("1a", "saxs"))
    assert state(saxs, **entries).state is State.DUE


def test_a_visit_of_equipment_that_is_no_longer_asked_about_holds_nothing_back() -> None:
    running = visit("2b", -48, 200)
    assert state(record_of(ENDED), running).state is State.WAITING
    assert state(record_of(ENDED), replace(running, asked=False)).state is State.DUE


def test_what_was_emptied_at_the_facility_is_gone_from_there_and_complete_at_home() -> None:
    held = copy_of(HERE, -30)
    emptied = record_of(ENDED, copies=(held,), files=0, listed=hours(-1), changed=hours(-1))
    found = state(emptied)
    assert (found.state, found.needs_person, found.is_settled) == (State.GONE, False, True)
    assert "no files" in found.reason
    later = replace(emptied, beamtimes=(visit("1a", -0.9, -0.5),))
    assert state(later).state is State.DUE  # it has to be looked at
    assert state(replace(emptied, copies=())).state is State.DUE


def test_a_broken_link_that_was_in_no_visit_needs_a_person_unless_it_is_complete() -> None:
    broken = record_of(problem="/data/mx/1a: it leads to nothing")
    found = state(broken)
    assert (found.state, found.left) == (State.DUE, SkipReason.NOT_A_FOLDER)
    at_home = state(replace(broken, copies=(copy_of(HERE),)))
    assert told(at_home) == (State.DUE, SkipReason.NOT_A_FOLDER)


def test_a_second_folder_of_an_epn_keeps_nothing_from_being_fetched_and_is_named() -> None:
    problem = f"{SkipReason.SECOND_FOLDER.text}: /data/mx/1A"
    record = record_of(ENDED, problem=problem)
    assert told(state(record)) == (State.DUE, DueReason.NEW)
    at_home = state(replace(record, copies=(copy_of(HERE),)))
    assert told(at_home) == (State.DUE, SkipReason.SECOND_FOLDER)
    assert at_home.reason.startswith("/data/mx/1A; ")
    outside = replace(record, beamtimes=())
    assert state(outside).state is State.OUTSIDE


def test_what_only_an_original_knows_is_not_called_visible() -> None:
    record = record_of(source="", visible=False, completed_elsewhere=True)
    for changes in ({}, {"fetch_visible": True}):
        found = state(record, **changes)
        assert (found.state, found.left) == (State.OUTSIDE, None)
        assert "visible" not in found.reason
        assert "fetch-visible" not in str(next_step(found, "config.yml"))


def test_an_unreadable_visit_makes_what_is_visible_an_obligation() -> None:
    note = DueNote("", hours(-9), hours(-9), UNREADABLE)
    assert told(state(record_of(note=note))) == (State.DUE, DueReason.NEW)
    assert state(record_of(source="", visible=False, note=note)).state is State.OUTSIDE


def test_what_was_complete_at_another_destination_stays_an_obligation() -> None:
    copy = copy_of(OLD, -5)
    found = state(record_of(copies=(copy,), changed=hours(-1)))
    assert told(found) == (State.DUE, DueReason.CHANGED)
    assert state(record_of(copies=(replace(copy, completed=None),))).state is State.OUTSIDE


def test_a_visit_that_runs_on_equipment_out_of_the_config_does_not_hold_its_experiment() -> None:
    """Nobody would learn that it has ended: what is there is fetched, and compared at its end."""
    running = replace(visit("1a", -720, 1), asked=False)
    assert told(state(record_of(running))) == (State.DUE, DueReason.NEW)
    complete = state(record_of(running, copies=(copy_of(HERE),)))
    assert told(complete) == (State.WAITING, SkipReason.RUNNING)
    assert complete.reason == f"since {moment(hours(-720))}"
    over = replace(visit("1a", -720, -1), asked=False)
    assert told(state(record_of(over, copies=(copy_of(HERE),)))) == (State.DUE, DueReason.RETURNED)
    to_come = replace(visit("1a", 2, 9), asked=False)
    assert told(state(record_of(to_come))) == (State.WAITING, SkipReason.NOT_BEGUN)


@pytest.mark.parametrize("left", [SkipReason.ABSENT, SkipReason.SAME_DESTINATION, None])
def test_what_was_only_told_and_is_told_no_more_is_no_obligation(left: SkipReason | None) -> None:
    note = None if left is None else DueNote("ny79", hours(-9), hours(-1), f"{left.text}: why")
    tried = copy_of(HERE, None)
    record = record_of(source="", visible=False, note=note, copies=(tried,))
    assert state(record).state is State.OUTSIDE
    assert state(replace(record, beamtimes=(ENDED,))).state is State.DUE
    assert state(replace(record, source="/data/mx/1a", visible=True)).state is State.DUE
    moved = replace(record, copies=(replace(tried, transfers=1),))
    assert state(moved).state is State.DUE


@pytest.mark.parametrize("below", [True, False])
def test_a_place_inside_or_around_an_older_copy_is_left_alone(below: bool) -> None:
    here = HERE.destination
    other = replace(HERE, destination=here / "old" if below else here.parent)
    record = record_of(ENDED, copies=(copy_of(other, -10),))
    found = state(record)
    assert told(found) == (State.DUE, SkipReason.NESTED) and str(other.destination) in found.reason
    missing = copy_of(other, -10, presence=Presence.MISSING)
    assert state(replace(record, copies=(missing,))).left is not SkipReason.NESTED


@pytest.mark.parametrize("left", list(SkipReason))
def test_the_reason_in_a_note_is_recognised(left: SkipReason) -> None:
    assert SkipReason.said_in(left.text) is left
    assert SkipReason.said_in(str(Skipped(experiment_of(), left, "/data: why"))) is left
    assert SkipReason.said_in(f"{left.text} and more") is None


def test_nothing_is_fetched_into_a_project_folder_whose_mount_is_gone() -> None:
    found = state(record_of(ENDED), unmounted={HERE.project_folder: HERE.project_folder})
    assert (found.state, found.left) == (State.DUE, SkipReason.UNMOUNTED)


@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.UNMOUNTED])
def test_a_copy_whose_storage_was_moved_is_compared_where_the_config_asks_for_it(
    presence: Presence,
) -> None:
    record = record_of(ENDED, copies=(replace(copy_of(OLD), presence=presence),))
    assert state(record).left in {SkipReason.COPY_MISSING, SkipReason.UNMOUNTED}
    found = state(record, filled={HERE.destination})
    assert (told(found), found.wanted) == ((State.DUE, DueReason.MOVED), HERE)
    gone = replace(record, vanished=hours(-1))  # there is nothing to compare with
    assert state(gone, filled={HERE.destination}).state is State.GONE


def test_a_place_to_which_nothing_was_transferred_belongs_to_nobody() -> None:
    tried = replace(copy_of(HERE, None), attempts=3, transfers=0)
    assert owners_of([record_of(ENDED, copies=(tried,))]) == {}
    assert owners_of([record_of(ENDED, copies=(replace(tried, transfers=1),))]) != {}


def test_a_complete_copy_does_not_wait_for_a_visit_that_began_before_its_own_ended() -> None:
    long = visit("2b", -200, 20)
    assert state(record_of(ENDED), long).state is State.WAITING
    fetched = record_of(ENDED, copies=(copy_of(HERE),))
    assert state(fetched, long).state is State.AT_HOME
    missing = record_of(ENDED, copies=(replace(copy_of(HERE), presence=Presence.MISSING),))
    assert state(missing, long).left is SkipReason.COPY_MISSING


# The state of a copy


@pytest.mark.parametrize(
    ("copy", "result"),
    [
        (None, CopyState.NEVER),
        (copy_of(HERE, forgotten=NOW), CopyState.NEVER),
        (copy_of(HERE, None, attempts=0, last=None), CopyState.NEVER),
        (copy_of(HERE, claim=CLAIM), CopyState.IN_PROGRESS),
        (copy_of(HERE, None), CopyState.INCOMPLETE),
        (copy_of(HERE, last=failed(-4)), CopyState.INCOMPLETE),
        (copy_of(HERE, None, suspect=True), CopyState.SUSPECT),
        (copy_of(HERE, -10), CopyState.STALE),
        (copy_of(HERE), CopyState.COMPLETE),
    ],
)
def test_the_state_of_a_copy(copy: CopyRecord | None, result: CopyState) -> None:
    assert copy_state(copy, [ENDED], None, NOW) is result


def test_a_copy_is_stale_once_a_visit_runs_or_a_scan_found_something_new() -> None:
    copy = copy_of(HERE)
    assert copy_state(copy, [ENDED, visit("1a", -1, 1)], None, NOW) is CopyState.STALE
    assert copy_state(copy, [ENDED, visit("1a", 1, 2)], None, NOW) is CopyState.COMPLETE
    assert copy_state(copy, [ENDED], hours(-4), NOW) is CopyState.STALE
    assert copy_state(copy, [ENDED], hours(-6), NOW) is CopyState.COMPLETE


# What holds whatever is known

World = tuple[list[ExperimentRecord], Policy]


def due(records: list[ExperimentRecord], policy: Policy) -> set[Experiment]:
    found = [experiment_state(one, policy) for one in records]
    return {item.experiment for item in found if isinstance(planned(item), DueCopy)}


@given(worlds())
def test_each_experiment_has_one_state_and_what_belongs_to_it(world: World) -> None:
    records, policy = world
    assert len({one.experiment for one in records}) == len(records)
    for record in records:
        found = experiment_state(record, policy)
        assert found.record is record
        owned = found.state not in (State.UNOWNED, State.SKIPPED, State.RELEASED)
        assert (found.wanted is not None) == (found.project is not None) == owned
        assert (found.why is not None) == (found.state is State.DUE)
        assert found.state is not State.WAITING or found.left in (
            SkipReason.RUNNING, SkipReason.LATER, SkipReason.NOT_BEGUN,
        )  # fmt: skip
        assert found.left is None or found.state not in (State.AT_HOME, State.OUTSIDE)
        assert not (found.is_settled and found.needs_person)


@given(worlds())
def test_what_the_portal_told_is_never_outside(world: World) -> None:
    records, policy = world
    for record in records:
        if record.last_end(NOW) is not None:
            assert experiment_state(record, policy).state is not State.OUTSIDE


@given(worlds())
def test_no_epn_with_a_running_visit_is_fetched(world: World) -> None:
    records, policy = world
    assert not {one.epn for one in due(records, policy)} & policy.running.since.keys()


@given(known(), visit_lists, st.sampled_from(EPNS), st.floats(-400, 1), st.booleans())
def test_one_more_running_visit_never_makes_more_due(
    records: list[ExperimentRecord], beamtimes: list[Beamtime], epn: str, start: float, look: bool
) -> None:
    recheck = RecheckPolicy(NOW, timedelta(days=5)) if look else None
    plain = [replace(one, beamtimes=()) for one in records]
    ignored = {"1a": OURS, "1b": REMOVED}

    def found(told: list[Beamtime]) -> set[Experiment]:
        combined = combine(plain, told)
        return due(combined, policy_of(*combined, recheck=recheck, ignored=ignored))

    more = visit(epn, start, 2)
    assert found([*beamtimes, more]) <= found(beamtimes)


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_records_and_visits_does_not_matter(
    world: World, chance: random.Random
) -> None:
    records, policy = world
    shuffled = [replace(one, beamtimes=()) for one in records]
    beamtimes = [item for one in records for item in one.beamtimes]
    chance.shuffle(shuffled)
    chance.shuffle(beamtimes)
    again = combine(shuffled, beamtimes)
    assert [one.experiment for one in again] == [one.experiment for one in records]
    running = replace(policy, running=running_visits(beamtimes, NOW))
    assert [told(experiment_state(one, running)) for one in again] == [
        told(experiment_state(one, policy)) for one in records
    ]


@given(worlds())
def test_a_visit_that_is_told_twice_counts_once(world: World) -> None:
    records, policy = world
    twice = [
        replace(one, beamtimes=tuple(b for b in one.beamtimes for _ in "12")) for one in records
    ]
    assert [told(experiment_state(one, policy)) for one in twice] == [
        told(experiment_state(one, policy)) for one in records
    ]


@given(worlds())
def test_after_a_complete_run_nothing_is_due(world: World) -> None:
    records, policy = world
    policy = replace(policy, recheck=None)
    assume(due(records, policy))
    after = []
    for record in records:
        item = planned(experiment_state(record, policy))
        after.append(completed_now(record, item.copy) if isinstance(item, DueCopy) else record)
    assert due(after, policy) == set()


@given(worlds())
def test_what_is_due_stays_so_whatever_is_forgotten_by_the_portal(world: World) -> None:
    """A visit that has left the portal's answers, or its time window, ends no obligation."""
    records, policy = world
    for record in records:
        found = experiment_state(record, policy)
        if found.state is not State.DUE or found.why is not DueReason.NEW:
            continue
        if record.released or record.epn.text in policy.ignored:
            continue  # which count until a visit ends
        noted = replace(record, beamtimes=(), note=DueNote("ny79", hours(-9), NOW, "why"))
        assert experiment_state(noted, policy).state is State.DUE
