"""One record, one state: all commands say the same of the same experiment, whatever is drawn."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings

from asynchy.alerting.content import overdue, unknown_epns
from asynchy.model.copy_record import Presence
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.model.plan_overview import overview_of
from asynchy.model.policy import Policy, RecheckPolicy
from asynchy.model.safety import DeletionEvidence, SafetyPolicy, lack_of
from asynchy.model.verification import Level
from asynchy.repatriation.catalogue_selection import SyncRequest, select_from_catalogue
from asynchy.reporting.at_risk import at_risk
from asynchy.reporting.reconcile import DeletionPolicy, reconcile
from asynchy.verification.verify_selection import to_verify
from tests.tools.records import MAPPING, NOW, worlds

World = tuple[list[ExperimentRecord], Policy]
many = settings(max_examples=settings().max_examples * 3 // 2)
STALE = (DueReason.RETURNED, DueReason.CHANGED, DueReason.DIFFERENT, DueReason.AGAIN)
"""What makes an experiment due because its copy lacks something."""


def states_of(world: World) -> list[ExperimentState]:
    records, policy = world
    return [experiment_state(record, policy) for record in records]


def safety(policy: Policy, level: Level | None = None) -> SafetyPolicy:
    return SafetyPolicy(level, MAPPING, policy.ignored)


def synced(record: ExperimentRecord, destination: Path) -> DueCopy | Skipped | None:
    """What `asynchy sync` says of a place; None: the copy there is complete."""
    layout = "/".join(destination.parts[2:])
    decided, complete = select_from_catalogue(
        [record], SyncRequest(Path(*destination.parts[:2]), layout), NOW
    )
    assert len(decided) + complete == 1
    return next(iter(decided), None)


@many
@given(worlds())
def test_what_is_at_home_is_complete_for_sync_and_lacks_nothing(world: World) -> None:
    for item in states_of(world):
        if item.state is not State.AT_HOME:
            continue
        assert item.copy is not None and item.copy.presence is Presence.THERE
        assert synced(item.record, item.copy.copy.destination) is None
        assert lack_of(item.record, item.copy, None, NOW) is None
        _, lack = safety(world[1]).best_copy(item.record, NOW)
        assert lack is None


@many
@given(worlds())
def test_what_is_at_home_is_not_at_risk_and_is_verified(world: World) -> None:
    records, policy = world
    states = states_of(world)
    risks = at_risk(records, safety(policy), {}, NOW, everything=True)
    endangered = {item.experiment for item in risks.items}
    endangered |= {item.experiment for item in risks.lost}
    verified = {
        item.copy.destination: item.why
        for item in to_verify(records, ())
        if isinstance(item, DueCopy)
    }
    for item in states:
        if item.state is not State.AT_HOME:
            continue
        assert item.experiment not in endangered
        assert item.copy is not None
        if item.copy.claim is None:
            assert verified[item.copy.copy.destination] is DueReason.VERIFIED


@many
@given(worlds())
def test_what_is_due_again_lacks_something_and_sync_fetches_it_too(world: World) -> None:
    for item in states_of(world):
        if item.state is not State.DUE or item.why not in STALE:
            continue
        assert item.wanted is not None
        there = item.record.copy_at(item.wanted.destination)
        copy = item.copy or there
        assert copy is None or lack_of(item.record, copy, None, NOW) is not None
        if there is not None and item.left is not SkipReason.DAMAGED:
            assert synced(item.record, item.wanted.destination) is not None


@many
@given(worlds())
def test_what_is_due_because_it_is_stale_has_no_copy_that_lacks_nothing(world: World) -> None:
    for item in states_of(world):
        if item.state is State.DUE and item.why in (DueReason.RETURNED, DueReason.CHANGED):
            _, lack = safety(world[1]).best_copy(item.record, NOW)
            others = [
                one for one in item.record.copies if one.copy.destination != item.wanted.destination
            ]  # type: ignore[union-attr]
            assert lack is not None or others


@many
@given(worlds())
def test_what_is_lost_lacks_something_and_what_is_gone_and_whole_does_not(world: World) -> None:
    for item in states_of(world):
        if item.state is not State.GONE:
            continue
        _, lack = safety(world[1]).best_copy(item.record, NOW)
        assert (lack is not None) == (item.left is not None)


@many
@given(worlds())
def test_nothing_but_what_is_at_home_may_be_deleted_at_the_facility(world: World) -> None:
    records, policy = world
    recheck = policy.recheck or RecheckPolicy(NOW, timedelta(0))
    proof = DeletionEvidence(0, 2, 10, ("size and time",), NOW, NOW)
    terms = DeletionPolicy(
        safety(policy, Level.SIZE),
        Level.SIZE,
        recheck.after,
        prove=lambda _copy: proof,
        cycle=policy,
    )
    for item in reconcile(records, terms, NOW):
        if item.deletable:
            assert experiment_state(item.record, policy).state is State.AT_HOME


@many
@given(worlds())
def test_what_needs_no_transfer_for_the_reports_needs_none_for_a_cycle(world: World) -> None:
    for item in states_of(world):
        exempt = safety(world[1]).is_exempt(item.record, NOW)
        if item.state in (State.RELEASED, State.SKIPPED):
            assert exempt or any(copy.was_complete for copy in item.record.copies)
        elif exempt:
            assert item.record.completed_elsewhere  # mxsync does not ask the original of sync


@many
@given(worlds())
def test_the_mail_and_the_overview_name_what_the_states_say(world: World) -> None:
    states = states_of(world)
    unowned = {item.record.epn for item in states if item.state is State.UNOWNED}
    assert set(unknown_epns(states)) == unowned
    assert all(epn.proposal not in MAPPING for epn in unowned)
    noted = {item.record.epn for item in states if item.record.note is not None}
    assert {item.epn for item in overdue(states, 1, NOW)} <= noted - unowned
    found = overview_of(states)
    assert found.counts == Counter(item.state for item in states)
    assert sum(found.counts.values()) == len(world[0])
