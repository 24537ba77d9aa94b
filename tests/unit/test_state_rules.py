"""Rules of the state of an experiment in which a drawn world (tests/worlds) found a defect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import UNCOMPARED, DueNote, ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.ignore_rules import entries_now, epns_to_add
from asynchy.model.plan import DueReason, SkipReason
from asynchy.model.policy import (
    DestinationRules,
    IgnoreEntry,
    Origin,
    Policy,
    RecheckPolicy,
    running_visits,
)
from asynchy.model.verification import Level
from asynchy.model.visit import Beamtime, Visit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EXPERIMENT = Experiment("mx", Epn("12282a"))
ROOT = Path("/projects")


def days(number: float) -> datetime:
    return NOW + timedelta(days=number)


def visit(start: float, end: float, epn: str = "12282a") -> Beamtime:
    return Beamtime(Visit(f"{epn} {start}", Epn(epn), days(start), days(end)), "mx")


def copy(listed: float, *, root: Path = ROOT, **changes: object) -> CopyRecord:
    project = root / "ny79"
    place = Copy(EXPERIMENT, "ny79", "/data/mx/12282a", project, project / "12282a" / "data")
    made = CopyRecord(
        id=1, copy=place, completed=days(listed), listed=days(listed), suspect=False,
        level=Level.SIZE, verified=days(listed), damaged=0, files=3, bytes=99, attempts=1, last=None,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def record(
    *copies: CopyRecord, visits: tuple[Beamtime, ...] = (), **changes: object
) -> ExperimentRecord:
    made = ExperimentRecord(
        EXPERIMENT, "/data/mx/12282a", seen=True, visible=True, copies=copies, beamtimes=visits
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def state(
    one: ExperimentRecord,
    *,
    others: tuple[Beamtime, ...] = (),
    entry: IgnoreEntry | None = None,
    fetch_visible: bool = False,
) -> ExperimentState:
    rules = DestinationRules(
        epn_cap_map={"12282": "ny79"},
        source_path="/data/{beamline}/{epn}",
        destination_root=ROOT,
        destination_path="{project}/{epn}/data",
    )
    policy = Policy(
        now=NOW,
        rules=rules,
        running=running_visits((*one.beamtimes, *others), NOW),
        ignored={} if entry is None else {"12282a": entry},
        recheck=RecheckPolicy(NOW, timedelta(days=7)),
        fetch_visible=fetch_visible,
    )
    return experiment_state(one, policy)


def test_a_copy_older_than_a_visit_that_must_wait_is_not_at_home() -> None:
    returned = record(copy(-10), visits=(visit(-20, -19), visit(-4, -3)))
    assert state(returned).why is DueReason.RETURNED
    found = state(returned, others=(visit(-5, 1, "12283b"),))
    assert (found.state, found.left) == (State.WAITING, SkipReason.LATER)


def test_what_is_gone_from_the_facility_and_lost_at_home_is_gone() -> None:
    lost = record(
        copy(-10, presence=Presence.MISSING),
        visits=(visit(-20, -19),), visible=False, vanished=days(-1),
    )  # fmt: skip
    found = state(lost)
    assert (found.state, found.left, found.needs_person) == (
        State.GONE,
        SkipReason.COPY_MISSING,
        True,
    )
    assert epns_to_add([found], (), ()) == []


def test_what_is_gone_from_the_facility_and_whole_at_home_needs_nobody() -> None:
    whole = record(copy(-10), visits=(visit(-20, -19),), visible=False, vanished=days(-1))
    found = state(whole)
    assert (found.state, found.needs_person) == (State.GONE, False)
    assert epns_to_add([found], (), ()) == [Epn("12282a")]


def test_a_copy_at_another_place_is_looked_at_a_second_time() -> None:
    ours = IgnoreEntry(Origin.OURS, days(-9))
    elsewhere = Path("/elsewhere")
    young = state(record(copy(-2, root=elsewhere), visits=(visit(-4, -3),)), entry=ours)
    assert (young.state, young.is_elsewhere) == (State.AT_HOME, True)
    old = state(record(copy(-9, root=elsewhere), visits=(visit(-11, -10),)), entry=ours)
    assert old.state is State.DUE
    again = state(record(copy(-2, root=elsewhere), visits=(visit(-11, -10),)), entry=ours)
    assert again.state is State.AT_HOME


def test_an_entry_that_was_taken_out_has_its_epn_fetched_again_once() -> None:
    visits = (visit(-30, -29),)
    ours = {"12282a": IgnoreEntry(Origin.OURS, days(-19))}
    removed = entries_now(ours, {}, days(-5), is_first_read=False)
    assert removed == entries_now(removed, {}, days(-4), is_first_read=False)
    (entry,) = removed.values()
    assert entry == IgnoreEntry(Origin.REMOVED, days(-5))
    assert state(record(copy(-20), visits=visits), entry=entry).why is DueReason.REMOVED
    assert state(record(copy(-4), visits=visits), entry=entry).state is State.AT_HOME


def test_an_entry_that_says_that_we_wrote_it_skips_nothing_though_the_catalogue_was_restored() -> (
    None
):
    (ours,) = entries_now({}, {"12282a": Origin.OURS}, days(0), is_first_read=False).values()
    (persons,) = entries_now({}, {"12282a": None}, days(0), is_first_read=False).values()
    one = record(visits=(visit(-30, -29),))  # the copy was completed after the backup was made
    assert state(one, entry=ours).state is State.DUE
    assert state(one, entry=persons).state is State.SKIPPED


@pytest.mark.parametrize("origin", [Origin.PERSON, Origin.ORIGINAL, Origin.REMOVED])
def test_an_entry_of_ours_skips_nothing_though_the_restored_catalogue_knows_an_older_one(
    origin: Origin,
) -> None:
    known = {"12282a": IgnoreEntry(origin, days(-9))}
    found = entries_now(known, {"12282a": Origin.OURS}, days(0), is_first_read=False)
    assert found == {"12282a": IgnoreEntry(Origin.OURS, days(0))}
    assert entries_now(found, {"12282a": Origin.OURS}, days(1), is_first_read=False) == found
    assert entries_now(found, {"12282a": None}, days(1), is_first_read=False) == found


def test_a_line_that_a_person_wrote_skips_though_the_entry_was_ours() -> None:
    known = {"12282a": IgnoreEntry(Origin.OURS, days(-9))}
    (entry,) = entries_now(known, {"12282a": Origin.PERSON}, days(0), is_first_read=False).values()
    assert entry == IgnoreEntry(Origin.PERSON, days(0))
    assert state(record(visits=(visit(-30, -29),)), entry=entry).state is State.SKIPPED


def test_without_a_visit_the_second_look_comes_after_the_latest_file() -> None:
    def looked(listed: float, modified: float) -> State:
        one = record(copy(listed), modified=days(modified))
        return state(one, fetch_visible=True).state

    assert looked(-8, -9) is State.DUE
    assert looked(-1, -9) is State.AT_HOME
    assert looked(-3, -4) is State.AT_HOME  # not yet


def test_what_is_gone_is_not_due_though_its_entry_was_taken_out() -> None:
    removed = IgnoreEntry(Origin.REMOVED, days(-1))
    gone = record(copy(-10), visits=(visit(-20, -19),), visible=False, vanished=days(-2))
    found = state(gone, entry=removed)
    assert (found.state, found.needs_person) == (State.GONE, False)


def test_an_entry_that_was_taken_out_has_a_copy_that_is_gone_fetched_again() -> None:
    removed = IgnoreEntry(Origin.REMOVED, days(-1))
    ended = (visit(-20, -19),)
    for presence in (Presence.MISSING, Presence.EMPTY):
        found = state(record(copy(-10, presence=presence), visits=ended), entry=removed)
        assert (found.state, found.why, found.left) == (State.DUE, DueReason.REMOVED, None)
        suspect = replace(copy(-10, presence=presence), completed=None, listed=None, suspect=True)
        found = state(record(suspect, visits=ended), entry=removed)
        assert (found.state, found.left) == (State.DUE, None)
        elsewhere = copy(-10, root=Path("/old"), presence=presence)
        found = state(record(elsewhere, visits=ended), entry=removed)
        assert (found.state, found.left) == (State.DUE, None)
        assert found.wanted is not None and ROOT in found.wanted.destination.parents
    for one in (
        copy(-10, presence=Presence.UNMOUNTED),
        copy(-10, presence=Presence.LINK),
        copy(-0.5, presence=Presence.MISSING),  # it was complete since
    ):
        found = state(record(one, visits=ended), entry=removed)
        assert found.left in (SkipReason.UNMOUNTED, SkipReason.COPY_MISSING)


def test_what_a_rebuild_could_not_compare_is_gone_until_a_later_visit_ends() -> None:
    note = DueNote("ny79", days(-2), days(-2), f"{UNCOMPARED}: /projects/ny79/12282a/data")
    gone = record(note=note, visible=False, vanished=days(-2))
    found = state(gone)
    assert (found.state, found.left) == (State.GONE, SkipReason.UNCOMPARED)
    assert found.needs_person and not found.is_settled
    assert found.reason == "/projects/ny79/12282a/data"
    assert epns_to_add([found], (), ()) == []
    found = state(replace(gone, beamtimes=(visit(-3, -1),)))
    assert (found.state, found.left) == (State.GONE, SkipReason.LOST)
    found = state(replace(gone, visible=True, vanished=None))
    assert (found.state, found.left) == (State.DUE, None)
