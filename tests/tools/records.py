"""Records of experiments for tests of what is decided from them: built, and drawn at random."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from asynchy.model.attempt import Claim, Verdict
from asynchy.model.copy_record import CopyRecord, LastAttempt, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import DueNote, ExperimentRecord, combine
from asynchy.model.policy import (
    DestinationRules,
    IgnoreEntry,
    Origin,
    Policy,
    RecheckPolicy,
    owners_of,
    running_visits,
)
from asynchy.model.verification import Level
from asynchy.model.visit import Beamtime, Visit

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MAPPING = {"1": "ny79", "2": "kx12"}
"""Projects of proposals; no other proposal has one."""
RULES = DestinationRules(
    MAPPING, "/data/{beamline}/{epn}", Path("/projects"), "{project}/{beamline}/{epn}/data"
)
CLAIM = Claim("node7", 4711, NOW, NOW)


def hours(number: float) -> datetime:
    """The time that many hours after NOW."""
    return NOW + timedelta(hours=number)


def experiment_of(epn: str = "1a", beamline: str = "mx") -> Experiment:
    """An experiment."""
    return Experiment(beamline, Epn(epn))


def visit(epn: str, start: float, end: float, beamline: str = "mx") -> Beamtime:
    """A visit; its times are hours after NOW."""
    identity = f"{epn} {beamline} {start} {end}"
    return Beamtime(Visit(identity, Epn(epn), hours(start), hours(end)), beamline)


def wanted(experiment: Experiment) -> Copy:
    """The copy that RULES ask for."""
    project = RULES.project_of(experiment.epn)
    assert project is not None
    return RULES.copy_of(ExperimentRecord(experiment), project)


def old_place(experiment: Experiment) -> Copy:
    """A copy at another place than RULES ask for."""
    folder = Path("/old") / experiment.beamline
    source = f"/data/{experiment.beamline}/{experiment.epn}"
    return Copy(experiment, "", source, folder, folder / experiment.epn.text)


def copy_of(copy: Copy, completed: float | None = -5, **changes: Any) -> CopyRecord:
    """A copy that was found complete so many hours after NOW, with a listing of then."""
    when = None if completed is None else hours(completed)
    verdict = Verdict.COMPLETE if when else Verdict.FAILED
    values: dict[str, Any] = {
        "id": 1, "completed": when, "listed": when, "suspect": False, "level": Level.SIZE,
        "verified": when, "damaged": 0, "files": 2, "bytes": 10, "attempts": 1,
        "last": LastAttempt(when or hours(-5), verdict, None if when else "disk full"),
    }  # fmt: skip
    return CopyRecord(copy=copy, **{**values, **changes})


def failed(at: float, verdict: Verdict = Verdict.FAILED) -> LastAttempt:
    """A latest attempt that did not make the copy complete."""
    return LastAttempt(hours(at), verdict, "cut off")


def record_of(*beamtimes: Beamtime, epn: str = "1a", **changes: Any) -> ExperimentRecord:
    """An experiment on mx that was seen at the facility, with its visits."""
    experiment = changes.pop("experiment", None) or experiment_of(epn)
    values: dict[str, Any] = {
        "source": f"/data/{experiment.beamline}/{experiment.epn}", "seen": True, "visible": True,
        "beamtimes": tuple(sorted(beamtimes, key=lambda one: one.visit.end)),
    }  # fmt: skip
    return ExperimentRecord(experiment, **{**values, **changes})


def policy_of(
    *records: ExperimentRecord, more: tuple[Beamtime, ...] = (), **changes: Any
) -> Policy:
    """The policy of a cycle in which these records are all that is known.

    `more`: visits that belong to none of them.
    """
    beamtimes = [*more, *(item for one in records for item in one.beamtimes)]
    values: dict[str, Any] = {
        "now": NOW, "rules": RULES, "running": running_visits(beamtimes, NOW),
        "owners": owners_of(records),
    }  # fmt: skip
    return Policy(**{**values, **changes})


EPNS = ("1a", "1b", "2a", "77a")
"""The last one belongs to no project."""
BEAMLINES = ("mx", "saxs")
moments = st.floats(-900, -0.01).map(hours)
visits = st.builds(
    lambda epn, beamline, start, length: visit(epn, start, start + length, beamline),
    st.sampled_from(EPNS), st.sampled_from(BEAMLINES), st.floats(-900, 30), st.floats(0.01, 100),
)  # fmt: skip
visit_lists = st.lists(visits, max_size=8)


@st.composite
def copies(draw: st.DrawFn, copy: Copy, number: int) -> CopyRecord:
    """A copy in any state that the catalogue can have it in."""
    completed = draw(st.none() | moments)
    listed = None if completed is None else completed - timedelta(hours=draw(st.floats(0, 20)))
    suspect = completed is None and draw(st.booleans())
    attempts = draw(st.integers(0, 2)) if completed is None and not suspect else 1
    verdict = draw(st.sampled_from([Verdict.COMPLETE, Verdict.FAILED, Verdict.INTERRUPTED]))
    if completed is None and not suspect and verdict is Verdict.COMPLETE:
        verdict = Verdict.STOPPED
    ended = (
        draw(moments)
        if completed is None
        else completed
        + draw(st.sampled_from([timedelta(0), timedelta(minutes=-9), timedelta(minutes=9)]))
    )
    return CopyRecord(
        id=number,
        copy=copy,
        completed=completed,
        listed=listed,
        suspect=suspect,
        level=draw(st.none() | st.sampled_from(Level)),
        verified=completed,
        damaged=draw(st.sampled_from([0, 0, 0, 2])) if completed or suspect else 0,
        files=2,
        bytes=10,
        attempts=attempts,
        last=LastAttempt(ended, verdict, "cut off") if attempts else None,
        claim=draw(st.sampled_from([None, None, None, CLAIM])),
        presence=draw(st.sampled_from([Presence.THERE] * 6 + list(Presence))),
    )


@st.composite
def experiments(draw: st.DrawFn, epn: str, beamline: str) -> ExperimentRecord:
    """An experiment without its visits, as the catalogue can have it."""
    experiment = experiment_of(epn, beamline)
    places = [old_place(experiment)]
    if experiment.epn.proposal in MAPPING:
        places.append(wanted(experiment))
    held = [
        draw(copies(place, number))
        for number, place in enumerate(places, 10 * EPNS.index(epn) + 2 * BEAMLINES.index(beamline))
        if draw(st.booleans())
    ]
    rarely = st.sampled_from([False, False, False, True])
    vanished = draw(moments) if draw(rarely) else None
    return ExperimentRecord(
        experiment,
        source=f"/data/{beamline}/{epn}",
        seen=True,
        visible=vanished is None,
        listed=draw(st.none() | moments),
        modified=draw(st.none() | moments),
        changed=draw(moments) if draw(rarely) else None,
        vanished=vanished,
        problem="a link that leads to no folder" if draw(rarely) else None,
        released=draw(moments) if draw(rarely) else None,
        completed_elsewhere=draw(rarely),
        elsewhere_since=draw(st.none() | moments),
        copies=tuple(held),
        note=DueNote("ny79", hours(-99), hours(-1), "why") if draw(rarely) else None,
        mailed=draw(rarely),
    )


@st.composite
def known(draw: st.DrawFn) -> list[ExperimentRecord]:
    """All that is known of some experiments, with their visits."""
    found = [
        draw(experiments(epn, beamline))
        for epn in EPNS
        for beamline in BEAMLINES
        if draw(st.booleans())
    ]
    return combine(found, draw(visit_lists))


entries = st.dictionaries(
    st.sampled_from(EPNS),
    st.builds(IgnoreEntry, st.sampled_from([*Origin, Origin.OURS, Origin.OURS]), moments),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[ExperimentRecord], Policy]:
    """Records, and a policy for them."""
    records = draw(known())
    days = draw(st.none() | st.integers(1, 20))
    policy = policy_of(
        *records,
        ignored=draw(entries),
        recheck=None if days is None else RecheckPolicy(NOW, timedelta(days=days)),
        fetch_visible=draw(st.booleans()),
    )
    return records, policy


def completed_now(record: ExperimentRecord, copy: Copy) -> ExperimentRecord:
    """The record after a run that has made a copy complete."""
    done = copy_of(copy, 0, id=1_000_000)
    others = tuple(one for one in record.copies if one.copy.destination != copy.destination)
    return replace(record, copies=(*others, done), note=None)
