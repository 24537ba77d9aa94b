"""Both sides of every experiment, and what may be deleted at the facility, by which proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import State, experiment_state
from asynchy.model.formatting import count, moment
from asynchy.model.plan import SkipReason
from asynchy.model.policy import Policy
from asynchy.model.safety import DeletionEvidence, SafetyPolicy, replaced_words, unexpected
from asynchy.model.verification import Level


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
    """Which proof that rests on, or why not, as text for people."""
    proof: DeletionEvidence | None
    """None if it did not come to that."""


@dataclass(frozen=True)
class DeletionPolicy:
    """What must hold before the facility's files may be deleted."""

    policy: SafetyPolicy
    level: Level
    recheck_after: timedelta
    """Files may be written late for so long after a visit; zero: nobody looks a second time."""
    prove: Callable[[CopyRecord], DeletionEvidence]
    """What is known of each of its files."""
    accept_left_out: bool = False
    """Whether what is not brought home because of what it is may be deleted, too."""
    cycle: Policy | None = None
    """What decides on an experiment for mxsync; None: the config has no such rules."""
    unknown_visits: str | None = None
    """Why not every visit up to now is known; None: each is."""


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
        if proof.unlisted:
            folders = count(proof.unlisted, "folder")
            reason = f"{folders} there could not be listed: what is in it now is not known"
        elif proof.unproven:
            reason = f"{count(proof.unproven, 'file')} there not at home, or not so proven"
        elif proof.absent:
            reason = (
                f"{proof.absent:,} of {count(proof.looked_for, 'file')} looked for at home are "
                f"missing or changed: `asynchy audit {one.epn}`"
            )
        elif proof.absent_links:
            links = count(
                proof.absent_links, "link or special file is", "links or special files are"
            )
            reason = f"{links} missing at home, or different: `asynchy audit {one.epn}`"
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
    never = f"{one.source} was never listed" if one.listed is None else None
    if (unknown := never or terms.unknown_visits) is not None:
        return unknown
    found = None if terms.cycle is None else _not_at_home(one, terms.cycle)
    return found if found is not None or terms.accept_left_out else _left_out(copy)


def _left_out(copy: CopyRecord) -> str | None:
    """What would be lost because it is not brought home, or that it is not known; None: nothing."""
    if copy.left_out is None:
        return "it is not known what was left out: list it again (`asynchy verify --level size`)"
    if not (found := str(copy.left_out)):
        return None
    return f"left out, so not at home: {found}; `accept-left-out: true` accepts that"


def _not_at_home(one: ExperimentRecord, cycle: Policy) -> str | None:
    """Why an experiment is not at home for mxsync; None: it is.

    If the mapping no longer names it, nobody would fetch what is newer: it is not deletable.
    """
    found = experiment_state(one, cycle)
    if found.state is State.AT_HOME:
        return None if found.is_mapped else f"{State.UNOWNED.value}: {SkipReason.UNMAPPED.text}"
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
    left_out = "" if copy.left_out is None else str(copy.left_out)
    accepted = f"; left out, and accepted: {left_out}" if left_out else ""
    return f"{files}{found}{how}{when}; listed there {moment(copy.listed)}{visits}{accepted}"
