"""Both sides of every experiment, and what may be deleted at the facility, by which proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Level
from asynchy.domain.text import count, moment
from asynchy.plan.experiment_state import State, experiment_state
from asynchy.plan.outcome import Left
from asynchy.plan.policy import Policy
from asynchy.plan.safety import SafetyPolicy, replaced_words, unexpected


@dataclass(frozen=True)
class DeletionEvidence:
    """What is known of the files that the facility was last seen to have."""

    unproven: int
    """Files that are not at home as they are there, proven as asked."""
    files: int
    """Those that are."""
    bytes: int
    ways: tuple[str, ...]
    """How they were proven, in words."""
    first: datetime | None
    """When the first of them was proven; None where there are none."""
    last: datetime | None


@dataclass(frozen=True)
class Reconciled:
    """An experiment on both sides."""

    record: ExperimentRecord
    project: str | None
    copy: CopyRecord | None
    """The one that stands best for it; None: nothing of it is at home."""
    deletable: bool
    """Whether what was last listed at the facility may be deleted there."""
    why: str
    """Which proof that rests on, or why not, in words."""
    proof: DeletionEvidence | None
    """None where it did not come to that."""


@dataclass(frozen=True)
class DeletionPolicy:
    """What must hold before the facility's files may be deleted."""

    policy: SafetyPolicy
    level: Level
    recheck_after: timedelta
    """Files may be written late for so long after a visit; zero: nobody looks a second time."""
    prove: Callable[[CopyRecord], DeletionEvidence]
    """What is known of each of its files."""
    cycle: Policy | None = None
    """What decides on an experiment for mxsync; None: the config has no such rules."""


def reconcile(
    standings: Iterable[ExperimentRecord], terms: DeletionPolicy, now: datetime
) -> list[Reconciled]:
    """Both sides of each experiment; nothing may be deleted unless all that is known says so."""
    return [_reconciled(one, terms, now) for one in standings]


def _reconciled(one: ExperimentRecord, terms: DeletionPolicy, now: datetime) -> Reconciled:
    """Both sides of one; an error that nobody expected costs that experiment alone."""
    try:
        return _compared(one, terms, now)
    except Exception as error:  # noqa: BLE001
        return Reconciled(one, None, None, False, unexpected(error), None)


def _compared(one: ExperimentRecord, terms: DeletionPolicy, now: datetime) -> Reconciled:
    copy, lack = terms.policy.best_copy(one, now)
    proof = None
    if one.vanished is not None:
        why = f"no longer there since {moment(one.vanished)}"
        why += "; never complete at home" if copy is None or copy.completed is None else ""
        return Reconciled(one, terms.policy.project(one), copy, False, why, None)
    reason = lack if copy is None else lack or _hindrance(one, copy, terms, now)
    if copy is not None and reason is None:
        proof = terms.prove(copy)
        if proof.unproven:
            reason = f"{count(proof.unproven, 'file')} there not at home, or not so proven"
    if reason is not None or copy is None or proof is None:
        return Reconciled(one, terms.policy.project(one), copy, False, reason or "", proof)
    why = _rests_on(one, copy, terms.level, proof)
    return Reconciled(one, terms.policy.project(one), copy, True, why, proof)


def _hindrance(
    one: ExperimentRecord, copy: CopyRecord, terms: DeletionPolicy, now: datetime
) -> str | None:
    """What stands against it though the copy is complete and proven; None: nothing."""
    if copy.claim is not None:
        return f"process {copy.claim.pid} on {copy.claim.host} works on it"
    if copy.replaced.by_less:
        return replaced_words(copy)
    for item in one.beamtimes:
        if item.visit.start <= now < item.visit.end:
            return "a visit is running"
        look = item.visit.end + terms.recheck_after
        if item.visit.end <= now and copy.listed is not None and copy.listed < look:
            return f"may be written late; to be listed again after {moment(look)}"
    return None if terms.cycle is None else _not_at_home(one, terms.cycle)


def _not_at_home(one: ExperimentRecord, cycle: Policy) -> str | None:
    """Why an experiment is not at home for mxsync; None: it is.

    If the mapping no longer names it, nobody would fetch what is newer: it is not deletable.
    """
    found = experiment_state(one, cycle)
    if found.state is State.AT_HOME:
        return None if found.is_mapped else f"{State.UNOWNED.value}: {Left.UNMAPPED.text}"
    reason = f": {found.because}" if found.because else ""
    return f"{found.state.value}{reason}"


def _rests_on(
    one: ExperimentRecord, copy: CopyRecord, level: Level, proof: DeletionEvidence
) -> str:
    assert copy.listed is not None  # it is complete
    files = f"{count(proof.files, 'file')}, " if proof.files else "no file, "
    when = ""
    if proof.first is not None and proof.last is not None:
        first, last = moment(proof.first), moment(proof.last)
        when = f" {first}" if first == last else f" {first} to {last}"
    how = f" ({', '.join(proof.ways)})" if proof.ways else ""
    visits = "" if one.beamtimes else "; no visit is known"
    found = copy.level or level
    return f"{files}{found}{how}{when}; listed there {moment(copy.listed)}{visits}"
