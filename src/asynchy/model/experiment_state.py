"""The state of an experiment: one pure function, from which every command derives it.

At any moment each known experiment is in exactly one state. Nothing leaves the comparison by
itself: not by leaving a time window, and not by a changed mapping or another destination.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from asynchy.model.copy_record import CopyRecord, Presence, newer_at_facility
from asynchy.model.due_reasons import is_obligation, why_due, why_stale
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import moment
from asynchy.model.observed import is_usable
from asynchy.model.plan import DueReason, SkipReason
from asynchy.model.policy import BY_ORIGINAL, Origin, Policy
from asynchy.model.safety import damage_words, is_emptied, original_settles, unexpected


class State(Enum):
    """The state of an experiment; the value is the text for people."""

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
    """The state of one experiment, with the reason and the consequences."""

    record: ExperimentRecord
    state: State
    reason: str = ""
    """Why it is in that state, for people; may be empty."""
    project: str | None = None
    wanted: Copy | None = None
    """The copy that the config asks for; None: it has no project."""
    copy: CopyRecord | None = None
    """The copy that counts for it; None: there is none."""
    why: DueReason | None = None
    """Why it is due."""
    left: SkipReason | None = None
    """Why it is not fetched by itself, if it is not."""
    is_mapped: bool = True
    """Whether the config still has its project; otherwise `project` is that of the copy."""

    @property
    def experiment(self) -> Experiment:
        """The experiment of this state."""
        return self.record.experiment

    @property
    def because(self) -> str:
        """Why it is in that state, in one sentence; may be empty."""
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
        """Whether a person has to act."""
        return self.state is State.UNOWNED or (self.left is not None and self.left.needs_person)


def experiment_state(record: ExperimentRecord, policy: Policy) -> ExperimentState:
    """The state of an experiment; one that cannot be judged is due, and costs no other."""
    try:
        return _judged(record, policy)
    except Exception as error:  # noqa: BLE001 - whatever it is, all others have a state
        return ExperimentState(record, State.DUE, unexpected(error), left=SkipReason.UNJUDGED)


def _judged(record: ExperimentRecord, policy: Policy) -> ExperimentState:
    """The rules in the order in which they count."""
    decision = _released(record, policy) or _skipped(record, policy)
    if decision is not None:
        return decision
    project = policy.rules.project_of(record.epn)
    if project is None:
        detail = f"proposal {record.epn.proposal}"
        unowned = ExperimentState(record, State.UNOWNED, detail, left=SkipReason.UNMAPPED)
        return _formerly_owned(record, policy) or unowned
    target = policy.rules.copy_of(record, project)
    return _Owned(record, policy, project, target).state()


def _released(record: ExperimentRecord, policy: Policy) -> ExperimentState | None:
    released = record.released
    if released is None or policy.is_future(released) or record.touched_since(released):
        return None
    reason = f"{moment(released)}: {record.release_reason or 'no reason was given'}"
    return ExperimentState(record, State.RELEASED, reason)


def _skipped(record: ExperimentRecord, policy: Policy) -> ExperimentState | None:
    entry = policy.ignored.get(record.epn.text)
    if entry is None or entry.origin in (Origin.OURS, Origin.REMOVED):
        return None
    if entry.origin is Origin.PERSON:
        return ExperimentState(record, State.SKIPPED, left=SkipReason.IGNORED)
    if not original_settles(record, entry, policy.original_beamline):
        return None
    return ExperimentState(record, State.SKIPPED, BY_ORIGINAL, left=SkipReason.IGNORED)


_OF_THE_COPY = (
    SkipReason.COPY_MISSING,
    SkipReason.UNMOUNTED,
    SkipReason.DAMAGED,
    SkipReason.NOT_A_FOLDER,
    SkipReason.SECOND_FOLDER,
)
"""Reasons that need a person, whether or not the experiment has a project."""


def _formerly_owned(record: ExperimentRecord, policy: Policy) -> ExperimentState | None:
    """The state of an experiment that was completed for a project that the mapping no longer has.

    It is at home, but newer data cannot be fetched until it is assigned to a project.
    """
    completed = [copy.copy for copy in record.copies if copy.was_complete and copy.copy.project]
    if not completed:
        return None
    unchecked = replace(policy, recheck=None)
    candidates = [_Owned(record, unchecked, copy.project, copy).state() for copy in completed]
    at_home = [item for item in candidates if item.is_settled]
    with_problem = [item for item in candidates if item.left in _OF_THE_COPY]
    item = next(iter(at_home or with_problem), None)
    if item is None:
        return None
    place = f"in {item.copy.copy.destination}" if item.state is State.AT_HOME and item.copy else ""
    mapping_note = f"epn_cap_map no longer names proposal {record.epn.proposal}"
    reason = "; ".join(filter(None, (item.reason or place, mapping_note)))
    return replace(item, reason=reason, is_mapped=False)


@dataclass(frozen=True)
class _Owned:
    """An experiment that belongs to a project and is not skipped."""

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
        why = why_due(self.record, self.policy, copy)
        if why is None:
            return self._complete(copy)
        if not is_obligation(self.record, self.policy, copy) and is_usable(self.record.problem):
            return self._state(State.OUTSIDE, self._why_outside())
        return self._due(copy, why)

    def _why_outside(self) -> str:
        if self.record.visible:
            return "visible at the SFTP service; never in a visit"
        if self.record.completed_elsewhere:
            return "complete by the original program; never seen at the facility"
        return "never seen at the facility, and in no visit that the portal reports"

    def _state(
        self,
        state: State,
        reason: str = "",
        *,
        copy: CopyRecord | None = None,
        why: DueReason | None = None,
        left: SkipReason | None = None,
    ) -> ExperimentState:
        return ExperimentState(
            self.record, state, reason, self.project, self.wanted, copy, why, left
        )

    def _running(self) -> ExperimentState | None:
        """A visit of it runs: nothing is fetched that is still being written."""
        since = self.policy.running.since.get(self.record.epn)
        if since is None:
            return None
        return self._state(State.WAITING, f"since {moment(since)}", left=SkipReason.RUNNING)

    def _later(self, copy: CopyRecord | None) -> ExperimentState | None:
        """All its visits ended after a running one began, or have not begun.

        A copy that is complete, or missing at home, since its last visit need not wait.
        """
        record, running, now = self.record, self.policy.running, self.policy.now
        if not record.beamtimes or record.last_end(running.reference) is not None:
            return None
        has_ended = record.last_end(now) is not None
        if copy is not None and copy.was_complete:
            current = (
                has_ended
                and why_due(self.record, self.policy, copy) is None
                and self._newer(copy) is None
            )
            if current or copy.presence is not Presence.THERE:
                return None
        if has_ended:
            return self._state(State.WAITING, left=SkipReason.LATER)
        if record.unasked(now):  # its present data is fetched, and compared after the visit
            return None
        return self._state(State.WAITING, left=SkipReason.NOT_BEGUN)

    def _elsewhere(self, copy: CopyRecord | None) -> ExperimentState | None:
        """A copy that we completed at another place counts while nothing newer can be fetched."""
        if copy is not None and copy.was_complete:
            return None
        recheck_reasons = {DueReason.LATE, DueReason.REMOVED, DueReason.CLOCK}
        if self.record.listed is None:  # found at another path, where nothing was listed yet
            recheck_reasons.add(DueReason.CHANGED)
        counted = [
            item for item in self.record.copies if not self.policy.gives_up(self.record, item)
        ]
        up_to_date = [
            item
            for item in counted
            if why_stale(self.record, self.policy, item) in {None, *recheck_reasons}
        ]
        present = [item for item in up_to_date if item.presence is Presence.THERE]
        other = next(iter(present or up_to_date), None)
        if other is None:
            return None
        absent = self._absent(other)
        if absent and self.wanted.destination in self.policy.filled and not self.record.vanished:
            return self._due(copy, DueReason.MOVED)
        reason = why_stale(self.record, self.policy, other)
        if absent is None and reason in recheck_reasons:
            # It is compared at the place where it is: nothing is fetched a second time.
            return replace(self, wanted=other.copy)._due(other, reason)
        return absent or self._complete(other, f"in {other.copy.destination}")

    def _absent(self, copy: CopyRecord | None) -> ExperimentState | None:
        """A copy that is recorded as complete must be at its place; otherwise a person decides."""
        if copy is None or not copy.was_complete or copy.presence is Presence.THERE:
            return None
        if self.policy.gives_up(self.record, copy):
            return None
        unmounted = copy.presence is Presence.UNMOUNTED
        left = SkipReason.UNMOUNTED if unmounted else SkipReason.COPY_MISSING
        mount = copy.mount or copy.copy.project_folder
        place = mount if unmounted else copy.copy.destination
        reason = str(place) if unmounted else f"{place} {copy.presence.value}"
        if self.record.vanished is not None:
            reason = f"{reason}; gone from the facility since {moment(self.record.vanished)}"
            return self._whole_elsewhere() or self._state(State.GONE, reason, copy=copy, left=left)
        return self._state(State.DUE, reason, copy=copy, why=DueReason.DIFFERENT, left=left)

    def _gone(self, copy: CopyRecord | None) -> ExperimentState | None:
        """It is no longer at the facility, and not complete at its place at home."""
        if self.record.vanished is None or (copy is not None and copy.completed is not None):
            return None
        if (place := self.record.uncompared) is not None:
            return self._state(State.GONE, place, copy=copy, left=SkipReason.UNCOMPARED)
        lost = self._state(
            State.GONE, f"since {moment(self.record.vanished)}", copy=copy, left=SkipReason.LOST
        )
        return self._whole_elsewhere() or lost

    def _emptied(self, copy: CopyRecord | None) -> ExperimentState | None:
        """Its folder at the facility was found without files after a copy was complete."""
        record = self.record
        if copy is None or record.listed is None:
            return None
        if not is_emptied(record, copy, self.policy.running.reference):
            return None
        reason = f"its folder there has no files since {moment(record.listed)}; complete at home"
        return self._state(State.GONE, reason, copy=copy)

    def _whole_elsewhere(self) -> ExperimentState | None:
        """It is no longer at the facility, and a copy at another place has all of it."""
        copy = next(filter(self._is_whole, self.record.copies), None)
        if copy is None or self.record.vanished is None:
            return None
        since = moment(self.record.vanished)
        reason = f"since {since}; complete in {copy.copy.destination}"
        return self._state(State.GONE, reason, copy=copy)

    def _newer(self, copy: CopyRecord) -> str | None:
        """Why the facility may have newer data than a complete copy; None: no reason known."""
        record, now, listed = self.record, self.policy.now, copy.listed
        if listed is None or (listed > now and not self.policy.is_future(listed)):
            return None
        return newer_at_facility(listed, record.beamtimes, record.changed, now)

    def _is_whole(self, copy: CopyRecord) -> bool:
        """Whether a copy has all that the facility is known to have had."""
        if copy.completed is None or copy.listed is None or copy.is_damaged:
            return False
        return self._newer(copy) is None and copy.presence is Presence.THERE

    def _complete(self, copy: CopyRecord | None, place: str = "") -> ExperimentState:
        """Nothing newer can be fetched; `place`: where it is, if not where the config asks."""
        assert copy is not None and copy.listed is not None
        record = self.record
        if copy.is_damaged:
            reason = (
                f"{damage_words(copy)}; `asynchy verify` repairs that, or says what is in the way"
            )
            return self._state(
                State.DUE, reason, copy=copy, why=DueReason.DIFFERENT, left=SkipReason.DAMAGED
            )
        newer = self._newer(copy)
        if record.vanished is not None:
            complete = f"complete {place or 'at home'}"
            reason = f"since {moment(record.vanished)}; {newer or complete}"
            if newer is None:
                return self._state(State.GONE, reason, copy=copy)
            lost = self._state(State.GONE, reason, copy=copy, left=SkipReason.LOST)
            return self._whole_elsewhere() or lost
        if newer is not None:
            return self._still_running(copy)
        if record.problem is not None:
            left = SkipReason.said_in(record.problem) or SkipReason.NOT_A_FOLDER
            problem = record.problem.removeprefix(f"{left.text}: ")
            reason = f"{problem}; what it had before is complete {place or 'at home'}"
            return self._state(State.DUE, reason, copy=copy, why=DueReason.CHANGED, left=left)
        return self._state(State.AT_HOME, place, copy=copy)

    def _still_running(self, copy: CopyRecord) -> ExperimentState:
        """Its data so far is at home; a running visit must end before it is compared again."""
        unasked = self.record.unasked(self.policy.now)
        if not unasked:
            return self._state(State.WAITING, copy=copy, left=SkipReason.LATER)
        since = f"since {moment(min(item.visit.start for item in unasked))}"
        return self._state(State.WAITING, since, copy=copy, left=SkipReason.RUNNING)

    def _due(self, copy: CopyRecord | None, why: DueReason) -> ExperimentState:
        left, reason = self._blocker(copy)
        return self._state(State.DUE, reason, copy=copy, why=why, left=left)

    def _blocker(self, copy: CopyRecord | None) -> tuple[SkipReason | None, str]:
        """Why it cannot be fetched now, though it is due."""
        if not is_usable(self.record.problem):
            return SkipReason.NOT_A_FOLDER, str(self.record.problem)
        own_mounts = {
            item.mount for item in self.record.copies if item.presence is Presence.MISSING
        }
        for folder in self.wanted.destination.parents if self.policy.unmounted else ():
            if folder in self.policy.unmounted and folder not in own_mounts:
                return SkipReason.UNMOUNTED, str(self.policy.unmounted[folder])
        owner = self.policy.owners.get(str(self.wanted.destination), self.record.experiment)
        if owner != self.record.experiment:
            return SkipReason.SAME_DESTINATION, same_destination(self.wanted.destination, owner)
        nested = next(filter(self._is_nested, self.record.copies), None)
        if nested is not None:
            return (
                SkipReason.NESTED,
                f"{self.wanted.destination}; the copy is in {nested.copy.destination}",
            )
        if copy is not None and copy.claim is not None:
            claim = copy.claim
            detail = f"process {claim.pid} on {claim.host} since {moment(claim.since)}"
            return SkipReason.CLAIMED, detail
        return None, ""

    def _is_nested(self, copy: CopyRecord) -> bool:
        """Whether the place that the config asks for is inside a copy at another place, or around.

        The files of both would be mixed.
        """
        if not copy.was_complete or copy.presence is not Presence.THERE:
            return False
        wanted, other = self.wanted.destination, copy.copy.destination
        return wanted != other and (wanted.is_relative_to(other) or other.is_relative_to(wanted))


def same_destination(destination: Path, owner: Experiment) -> str:
    """The message if a place belongs to another experiment, with the hint."""
    whose = f"{owner.epn} ({owner.beamline})" if owner.beamline else str(owner.epn)
    return f"{destination} belongs to {whose}; put {{beamline}} into destination-path"
