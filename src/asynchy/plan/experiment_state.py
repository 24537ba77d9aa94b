"""The state of an experiment: one pure function, from which every command derives it.

At any moment each known experiment is in exactly one state. Nothing leaves the comparison by
itself: not by leaving a time window, and not by a changed mapping or another destination.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path

from asynchy.domain.copy_record import CopyRecord, Presence, newer_at_facility
from asynchy.domain.experiment import Copy, Experiment
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.text import moment
from asynchy.plan.outcome import Left, Why
from asynchy.plan.policy import Origin, Policy, is_of_original
from asynchy.plan.safety import damage_words, unexpected


class State(Enum):
    """Where an experiment stands; the value is the word that people read."""

    AT_HOME = "at home"
    DUE = "due"
    WAITING = "waiting"
    UNOWNED = "no project"
    SKIPPED = "skipped"
    RELEASED = "released"
    OUTSIDE = "not asked for"
    GONE = "gone from the facility"


@dataclass(frozen=True)
class ExperimentState:
    """The state of one experiment, and what follows from it."""

    record: ExperimentRecord
    state: State
    reason: str = ""
    """Why it is in that state, for people; empty: the state says it all."""
    project: str | None = None
    wanted: Copy | None = None
    """The copy that the config asks for; None: nobody has said whose it is."""
    copy: CopyRecord | None = None
    """The copy that counts for it; None: there is none."""
    why: Why | None = None
    """Why it is due."""
    left: Left | None = None
    """Why it is not fetched by itself, if it is not."""
    is_mapped: bool = True
    """Whether the config still says whose it is; otherwise `project` is whose its copy was."""

    @property
    def experiment(self) -> Experiment:
        """Whose state it is."""
        return self.record.experiment

    @property
    def because(self) -> str:
        """Why it is in that state, in one sentence; empty: the state says it all."""
        parts = [self.left.text if self.left is not None else "", self.reason]
        return ": ".join(part for part in parts if part)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the copy that counts is at another place than the config asks for."""
        copy, wanted = self.copy, self.wanted
        at_home = self.state is State.AT_HOME and copy is not None and wanted is not None
        if not at_home or copy.copy is wanted:  # type: ignore[union-attr]
            return False
        return copy.copy.destination != wanted.destination  # type: ignore[union-attr]

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for it, as far as is known."""
        settled = (State.AT_HOME, State.RELEASED, State.SKIPPED)
        return self.state in settled or (self.state is State.GONE and self.left is None)

    @property
    def needs_person(self) -> bool:
        """Whether it will not come right by itself."""
        return self.state is State.UNOWNED or (self.left is not None and self.left.needs_person)


def experiment_state(record: ExperimentRecord, policy: Policy) -> ExperimentState:
    """The state of an experiment; one that cannot be judged is due, and costs no other."""
    try:
        return _judged(record, policy)
    except Exception as error:  # noqa: BLE001 - whatever it is, all others have a state
        return ExperimentState(record, State.DUE, unexpected(error), left=Left.UNJUDGED)


def _judged(record: ExperimentRecord, policy: Policy) -> ExperimentState:
    """The rules in the order in which they count."""
    made = _released(record) or _skipped(record, policy)
    if made is not None:
        return made
    project = policy.rules.project_of(record.epn)
    if project is None:
        detail = f"proposal {record.epn.proposal}"
        unowned = ExperimentState(record, State.UNOWNED, detail, left=Left.UNMAPPED)
        return _once_owned(record, policy) or unowned
    wanted = policy.rules.copy_of(record, project)
    return _Owned(record, policy, project, wanted).state()


def _released(record: ExperimentRecord) -> ExperimentState | None:
    if record.released is None or record.touched_since(record.released):
        return None
    reason = f"{moment(record.released)}: {record.release_reason or 'no reason was given'}"
    return ExperimentState(record, State.RELEASED, reason)


def _skipped(record: ExperimentRecord, policy: Policy) -> ExperimentState | None:
    entry = policy.ignored.get(record.epn.text)
    if entry is None or entry.origin in (Origin.OURS, Origin.REMOVED):
        return None
    if entry.origin is Origin.PERSON:
        return ExperimentState(record, State.SKIPPED, left=Left.IGNORED)
    ours = any(copy.was_complete for copy in record.copies)
    covered = is_of_original(record.experiment, policy.original_beamline)
    if ours or not covered or record.touched_since(entry.since):
        return None
    reason = "by the original program"
    return ExperimentState(record, State.SKIPPED, reason, left=Left.IGNORED)


_OF_THE_COPY = (Left.COPY_MISSING, Left.UNMOUNTED, Left.DAMAGED)
"""What a person has to see to at home, whosever the experiment is."""


def _once_owned(record: ExperimentRecord, policy: Policy) -> ExperimentState | None:
    """What was completed for a project that the mapping no longer names is at home all the same.

    Nothing newer can be fetched, nor looked for, until somebody says whose it is.
    """
    completed = [one.copy for one in record.copies if one.was_complete and one.copy.project]
    if not completed:
        return None
    unchecked = replace(policy, recheck=None)
    found = [_Owned(record, unchecked, one.project, one).state() for one in completed]
    at_home = [item for item in found if item.is_settled]
    wrong = [item for item in found if item.left in _OF_THE_COPY]
    item = next(iter(at_home or wrong), None)
    if item is None:
        return None
    place = f"in {item.copy.copy.destination}" if item.state is State.AT_HOME and item.copy else ""
    said = f"epn_cap_map no longer names proposal {record.epn.proposal}"
    reason = "; ".join(filter(None, (item.reason or place, said)))
    return replace(item, reason=reason, is_mapped=False)


@dataclass(frozen=True)
class _Owned:
    """An experiment of a project of ours that nobody skips."""

    record: ExperimentRecord
    policy: Policy
    project: str
    wanted: Copy

    def state(self) -> ExperimentState:
        copy = self.record.copy_at(self.wanted.destination)
        return (
            self._running()
            or self._elsewhere(copy)
            or self._later(copy)
            or self._absent(copy)
            or self._gone(copy)
            or self._emptied(copy)
            or self._by_copy(copy)
        )

    def _by_copy(self, copy: CopyRecord | None) -> ExperimentState:
        why = self._why(copy)
        if why is None:
            return self._complete(copy)
        if not self._is_obligation(copy) and self.record.problem is None:
            return self._made(State.OUTSIDE, "visible at the SFTP service; never in a visit")
        return self._due(copy, why)

    def _made(
        self,
        state: State,
        reason: str = "",
        *,
        copy: CopyRecord | None = None,
        why: Why | None = None,
        left: Left | None = None,
    ) -> ExperimentState:
        return ExperimentState(
            self.record, state, reason, self.project, self.wanted, copy, why, left
        )

    def _running(self) -> ExperimentState | None:
        """A visit of it runs: nothing is fetched that is still being written."""
        since = self.policy.running.since.get(self.record.epn)
        if since is None:
            return None
        return self._made(State.WAITING, f"since {moment(since)}", left=Left.RUNNING)

    def _later(self, copy: CopyRecord | None) -> ExperimentState | None:
        """All its visits ended after a running one began, or have not begun.

        What is complete or missing at home since its last visit has nothing to wait for.
        """
        record, running, now = self.record, self.policy.running, self.policy.now
        if not record.beamtimes or record.last_end(running.reference) is not None:
            return None
        has_ended = record.last_end(now) is not None
        if copy is not None and copy.was_complete:
            current = has_ended and self._why(copy) is None and not self._is_newer(copy)
            if current or copy.presence is not Presence.THERE:
                return None
        if has_ended:
            return self._made(State.WAITING, left=Left.LATER)
        return self._made(State.WAITING, left=Left.NOT_BEGUN)

    def _elsewhere(self, copy: CopyRecord | None) -> ExperimentState | None:
        """A copy that we completed at another place counts while nothing newer can be fetched."""
        if copy is not None and copy.was_complete:
            return None
        looks = (Why.LATE, Why.REMOVED)
        sound = [one for one in self.record.copies if self._why_stale(one) in (None, *looks)]
        there = [one for one in sound if one.presence is Presence.THERE]
        other = next(iter(there or sound), None)
        if other is None:
            return None
        absent = self._absent(other)
        stale = self._why_stale(other)
        if absent is None and stale in looks:
            # It is compared at the place where it is: nothing is fetched a second time.
            return replace(self, wanted=other.copy)._due(other, stale)
        return absent or self._complete(other, f"in {other.copy.destination}")

    def _absent(self, copy: CopyRecord | None) -> ExperimentState | None:
        """What the catalogue calls complete must be at its place; a person decides what follows."""
        if copy is None or not copy.was_complete or copy.presence is Presence.THERE:
            return None
        unmounted = copy.presence is Presence.UNMOUNTED
        left = Left.UNMOUNTED if unmounted else Left.COPY_MISSING
        place = copy.copy.project_folder if unmounted else copy.copy.destination
        reason = str(place) if unmounted else f"{place} {copy.presence.value}"
        if self.record.vanished is not None:
            reason = f"{reason}; gone from the facility since {moment(self.record.vanished)}"
            return self._whole_elsewhere() or self._made(State.GONE, reason, copy=copy, left=left)
        return self._made(State.DUE, reason, copy=copy, why=Why.DIFFERENT, left=left)

    def _gone(self, copy: CopyRecord | None) -> ExperimentState | None:
        """It is no longer at the facility, and not complete at its place at home."""
        if self.record.vanished is None or (copy is not None and copy.completed is not None):
            return None
        lost = self._made(
            State.GONE, f"since {moment(self.record.vanished)}", copy=copy, left=Left.LOST
        )
        return self._whole_elsewhere() or lost

    def _emptied(self, copy: CopyRecord | None) -> ExperimentState | None:
        """Its folder at the facility was found without files after a copy was complete."""
        record = self.record
        if copy is None or copy.completed is None or not copy.files or record.files != 0:
            return None
        last_end = record.last_end(self.policy.running.reference)
        if record.listed is None or (last_end is not None and last_end > record.listed):
            return None  # it has to be listed again
        reason = f"its folder there has no files since {moment(record.listed)}; complete at home"
        return self._made(State.GONE, reason, copy=copy)

    def _whole_elsewhere(self) -> ExperimentState | None:
        """It is no longer at the facility, and a copy at another place has all of it."""
        copy = next(filter(self._is_whole, self.record.copies), None)
        if copy is None or self.record.vanished is None:
            return None
        since = moment(self.record.vanished)
        reason = f"since {since}; complete in {copy.copy.destination}"
        return self._made(State.GONE, reason, copy=copy)

    def _is_newer(self, copy: CopyRecord) -> bool:
        """Whether the facility may have something newer than a complete copy."""
        record, now = self.record, self.policy.now
        return copy.listed is not None and (
            newer_at_facility(copy.listed, record.beamtimes, record.changed, now) is not None
        )

    def _is_whole(self, copy: CopyRecord) -> bool:
        """Whether a copy has all that the facility is known to have had."""
        if copy.completed is None or copy.listed is None or copy.damaged:
            return False
        record, now = self.record, self.policy.now
        newer = newer_at_facility(copy.listed, record.beamtimes, record.changed, now)
        return newer is None and copy.presence is Presence.THERE

    def _complete(self, copy: CopyRecord | None, place: str = "") -> ExperimentState:
        """Nothing newer can be fetched; `place`: where it is, if not where the config asks."""
        assert copy is not None and copy.listed is not None
        record, now = self.record, self.policy.now
        if copy.damaged:
            reason = f"{damage_words(copy)}; `asynchy verify` repairs that"
            return self._made(State.DUE, reason, copy=copy, why=Why.DIFFERENT, left=Left.DAMAGED)
        newer = newer_at_facility(copy.listed, record.beamtimes, record.changed, now)
        if record.vanished is not None:
            complete = f"complete {place or 'at home'}"
            reason = f"since {moment(record.vanished)}; {newer or complete}"
            return self._made(State.GONE, reason, copy=copy, left=Left.LOST if newer else None)
        if newer is not None:
            return self._made(State.WAITING, copy=copy, left=Left.LATER)
        return self._made(State.AT_HOME, place, copy=copy)

    def _why(self, copy: CopyRecord | None) -> Why | None:
        """Why the copy is due; None: it is not."""
        if copy is not None and copy.suspect:
            return Why.DIFFERENT
        if copy is not None and copy.completed is not None and copy.listed is not None:
            return self._why_again(copy, copy.listed)
        if copy is not None and copy.attempts:
            return Why.AGAIN
        stale = map(self._why_stale, self.record.copies)
        return next((why for why in stale if why in (Why.RETURNED, Why.CHANGED)), Why.NEW)

    def _why_stale(self, copy: CopyRecord) -> Why | None:
        """Why a copy at another place does not count any more; None: it does."""
        if copy.completed is None or copy.listed is None or copy.suspect:
            return Why.AGAIN
        return self._why_again(copy, copy.listed)

    def _why_again(self, copy: CopyRecord, listed: datetime) -> Why | None:
        """Why a complete copy is due again; None: it is not."""
        record, policy = self.record, self.policy
        entry = policy.ignored.get(record.epn.text)
        removed = entry is not None and entry.origin is Origin.REMOVED and listed < entry.since
        if removed and record.vanished is None:
            return Why.REMOVED
        last_end = record.last_end(policy.running.reference)
        if last_end is not None and last_end > listed:
            return Why.RETURNED
        if record.vanished is not None:
            return None
        if record.changed is not None and record.changed > listed:
            return Why.CHANGED
        if copy.unfinished:
            return Why.AGAIN
        return Why.LATE if self._late(copy) else None

    def _late(self, copy: CopyRecord) -> bool:
        """Whether it has to be looked at once more, for what was written late.

        Of an experiment that no visit was told of, the latest file is taken for the visit's end.
        """
        recheck, record = self.policy.recheck, self.record
        end = record.last_end(self.policy.now) if record.beamtimes else record.modified
        if recheck is None or end is None or copy.listed is None:
            return False
        return end < self.policy.running.reference and recheck.is_due(end, copy.listed)

    def _is_obligation(self, copy: CopyRecord | None) -> bool:
        """Whether it was ever asked for: told, mailed, tried, due, or all that is visible is.

        That its visits were called off since does not undo it.
        """
        record = self.record
        tried = copy is not None and (copy.attempts > 0 or copy.was_complete)
        told = bool(record.beamtimes) or record.called_off
        known = told or record.mailed or record.note is not None
        return known or tried or self.policy.fetch_visible

    def _due(self, copy: CopyRecord | None, why: Why) -> ExperimentState:
        left, reason = self._blocker(copy)
        return self._made(State.DUE, reason, copy=copy, why=why, left=left)

    def _blocker(self, copy: CopyRecord | None) -> tuple[Left | None, str]:
        """Why it cannot be fetched now, though it is due."""
        if self.record.problem is not None:
            return Left.BROKEN_LINK, self.record.problem
        if self.wanted.project_folder in self.policy.unmounted:
            return Left.UNMOUNTED, str(self.wanted.project_folder)
        owner = self.policy.owners.get(str(self.wanted.destination), self.record.experiment)
        if owner != self.record.experiment:
            return Left.SAME_DESTINATION, same_destination(self.wanted.destination, owner)
        if copy is not None and copy.claim is not None:
            claim = copy.claim
            detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
            return Left.CLAIMED, detail
        return None, ""


def same_destination(destination: Path, owner: Experiment) -> str:
    """That a place belongs to another experiment, and what to do, for people."""
    whose = f"{owner.epn} ({owner.beamline})" if owner.beamline else str(owner.epn)
    return f"{destination} belongs to {whose}; put {{beamline}} into destination-path"
