"""Counts and names the experiments that a cycle does not fetch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, moment
from asynchy.model.observed import second_folder
from asynchy.model.plan import SkipReason
from asynchy.model.policy import Policy
from asynchy.model.safety import name_of, replaced_words
from asynchy.model.visit import Visit

_MAX_NAMED = 10  # experiments that one sentence names
_LOSSES_TOLD = timedelta(days=14)


@dataclass(frozen=True)
class PlanOverview:
    """How many experiments are in which state, and those that people should know by name."""

    counts: Counter[State]
    elsewhere: tuple[ExperimentState, ...]
    """Complete at another place than the config asks for."""
    outside: tuple[Experiment, ...]
    """Visible, with a project, but never in a visit: only `fetch-visible` makes them due."""
    shrunk: tuple[ExperimentState, ...]
    """The facility no longer has all that their copies hold."""
    replaced: tuple[CopyRecord, ...]
    """Copies beside which earlier versions of files are kept."""


def overview_of(states: Iterable[ExperimentState]) -> PlanOverview:
    """The overview of the states of all experiments."""
    items = list(states)
    return PlanOverview(
        counts=Counter(item.state for item in items),
        elsewhere=tuple(item for item in items if item.is_elsewhere),
        outside=tuple(
            item.experiment for item in items if item.state is State.OUTSIDE and item.record.visible
        ),
        shrunk=tuple(item for item in items if item.copy is not None and item.copy.losses),
        replaced=tuple(
            copy for item in items for copy in item.record.copies if copy.replaced.files
        ),
    )


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def sentences(overview: PlanOverview, *, shrunk: bool = True) -> list[str]:
    """Sentences of the overview for a plan, a status and a mail.

    `shrunk`: also files that the facility lost, and kept files whose place has less now; a mail has
    these in another part.
    """
    result = []
    if overview.outside:
        number = count(len(overview.outside), "experiment is", "experiments are")
        names = named([name_of(experiment) for experiment in overview.outside])
        result.append(
            f"{number} visible at the SFTP service and ours, but in no visit that the portal "
            f"reports: {names}. `fetch-visible: true` fetches what is visible."
        )
    for item in overview.elsewhere:
        result.append(f"{name_of(item.experiment)} is complete at another place: {item.reason}")
    for item in overview.shrunk if shrunk else ():
        assert item.copy is not None
        result.append(f"{name_of(item.experiment)}: {item.copy.losses}")
    result += [
        replaced_sentence(copy) for copy in overview.replaced if shrunk or not copy.replaced.by_less
    ]
    return result


def replaced_sentence(copy: CopyRecord) -> str:
    """That earlier versions of files are kept beside a copy, and whether its own have less now."""
    return f"{name_of(copy.copy.experiment)}: {replaced_words(copy)}"


@dataclass(frozen=True)
class Attention:
    """Something that needs a person."""

    key: str
    """Identifies the condition, even if sizes and times in the text change."""
    text: str
    item: ExperimentState
    """The experiment, or the first of those that it is about."""


def attention(states: Iterable[ExperimentState], now: datetime) -> tuple[str, ...]:
    """Sentences about everything that needs a person; a missing mount is named once."""
    texts: Counter[str] = Counter()
    uncompared = []
    for item in attention_items(states, now):
        if item.key.endswith(f" {SkipReason.UNCOMPARED.name}"):
            uncompared.append(item)
        else:
            texts[item.text] += 1
    if len(uncompared) == 1:
        texts[uncompared[0].text] = 1
    elif uncompared:  # there may be many of these, so they share a line
        names = named([name_of(item.item.experiment) for item in uncompared])
        number = count(len(uncompared), "experiment")
        texts[f"{number}: {SkipReason.UNCOMPARED.text}: {names} (`asynchy status` has all)"] = 1
    return tuple(
        f"{text} ({count(number, 'experiment')})" if number > 1 else text
        for text, number in texts.items()
    )


def attention_items(states: Iterable[ExperimentState], now: datetime) -> Iterator[Attention]:
    """Everything that needs a person, for each experiment.

    Without EPNs that have no project: a mail has a part of its own for them. Files that the
    facility lost are repeated for some days; kept files whose place has less data, until a person
    has acted.
    """
    for item in states:
        name = name_of(item.experiment)
        replaced = dict.fromkeys(
            replaced_sentence(copy) for copy in item.record.copies if copy.replaced.by_less
        )
        for text in replaced:
            yield Attention(f"{name} replaced", text, item)
        copy = item.copy
        if copy and copy.losses and copy.listed and now - copy.listed < _LOSSES_TOLD:
            yield Attention(f"{name} losses", f"{name}: {copy.losses}", item)
        skip_reason, reason = _why_a_person(item)
        if skip_reason is None:
            continue
        if skip_reason.is_mount:
            text = f"{reason} is missing, or has no copy: is it mounted?"
            yield Attention(text, text, item)
        else:
            text = f"{name}: {skip_reason.text}{f': {reason}' if reason else ''}"
            yield Attention(f"{name} {skip_reason.name}", text, item)


def without_project(states: Iterable[ExperimentState]) -> tuple[str, ...]:
    """That experiments belong to no project, in one sentence; none if each has one."""
    names = [name_of(item.experiment) for item in states if item.state is State.UNOWNED]
    if not names:
        return ()
    number = count(len(names), "experiment belongs", "experiments belong")
    return (f"{number} to no project: {named(names)} (asynchy map add)",)


def second_folders(
    states: Iterable[ExperimentState], completed: Collection[Experiment]
) -> list[str]:
    """Of experiments that a cycle has completed, those with a second folder at the facility.

    The next cycle has that in their state; without it, this cycle would end as if all were well.
    """
    return [
        f"{name_of(item.experiment)}: {item.record.problem}"
        for item in states
        if item.experiment in completed and second_folder(item.record.problem) is not None
    ]


def without_visible(states: Collection[ExperimentState], folders: Iterable[str]) -> list[str]:
    """The folders at the facility in which nothing is visible and experiments were looked for.

    `states`: of all experiments. Perhaps the config names a folder that is not there.
    """
    result = []
    for folder in folders:
        sources = [item.record.source for item in states if item.record.visible]
        if any(source.startswith(f"{folder}/") for source in sources):
            continue
        missing = f"{SkipReason.ABSENT.text}: {folder}/"
        notes = [item.record.note for item in states if item.state is State.DUE]
        number = sum(note is not None and note.reason.startswith(missing) for note in notes)
        if number:
            result.append(
                f"No experiment was found in {folder} at the facility, where "
                f"{count(number, 'experiment is', 'experiments are')} due: check `source-path` "
                "and `beamline`"
            )
    return result


def _why_a_person(item: ExperimentState) -> tuple[SkipReason | None, str]:
    """Why it needs a person, by its state or by what the latest cycle found; None: it does not.

    Reasons that are found only by listing, such as a missing project folder, are in a note.
    """
    if item.state is State.UNOWNED:
        return None, ""
    if item.left is not None:
        return (item.left, item.reason) if item.needs_person else (None, "")
    note = item.record.note
    if note is None or item.state is not State.DUE:
        return None, ""
    skip_reason = SkipReason.said_in(note.reason)
    if skip_reason is None or not skip_reason.needs_person:
        return None, ""
    return skip_reason, note.reason.removeprefix(skip_reason.text).removeprefix(": ")


def long_visits(
    states: Sequence[ExperimentState], policy: Policy, limit: timedelta
) -> tuple[str, ...]:
    """Each visit that has been running for longer than a limit, with the waiting experiments."""
    long_beamtimes = [
        item for item in policy.running.current if policy.now - item.visit.start > limit
    ]
    result = _unasked(states, policy.now, limit)
    if not long_beamtimes:
        return tuple(result)
    waiting = [item for item in states if item.left in (SkipReason.RUNNING, SkipReason.LATER)]
    for beamtime in long_beamtimes:
        held_back = [name_of(item.experiment) for item in waiting if _is_held(item, beamtime.visit)]
        if held_back:
            result.append(
                f"A visit of {beamtime.visit.epn} on {beamtime.beamline} has been running since "
                f"{moment(beamtime.visit.start)}, until {moment(beamtime.visit.end)}. It holds "
                f"back {count(len(held_back), 'experiment')}: {named(held_back)}. "
                "If its times are wrong, ask the facility to correct them."
            )
    return tuple(result)


def _unasked(states: Iterable[ExperimentState], now: datetime, limit: timedelta) -> list[str]:
    """The same of visits on equipment that the config no longer has, which hold nothing back."""
    return [
        f"A visit of {name_of(item.experiment)} has been running since "
        f"{moment(beamtime.visit.start)}, until {moment(beamtime.visit.end)}, on equipment that "
        "is no longer in `equipment`. It holds nothing back. What is at the facility is compared "
        "once more when it has ended. If its times are wrong, put the equipment back, and ask the "
        "facility to correct them."
        for item in states
        if item.state in (State.DUE, State.WAITING)
        for beamtime in item.record.unasked(now)
        if now - beamtime.visit.start > limit
    ]


def _is_held(item: ExperimentState, running: Visit) -> bool:
    """Whether a waiting experiment would wait if no other visit than this one were running.

    It waits for a visit of its own EPN, and if no visit of it that is not at home yet ended before
    this one began.
    """
    if item.left is SkipReason.RUNNING:
        return item.record.epn == running.epn
    end = item.record.last_end(running.start)
    listed = item.copy.listed if item.copy is not None else None
    return end is None or (listed is not None and end <= listed)


def cause_for_person(item: ExperimentState) -> str | None:
    """Why an experiment needs a person, in a few words; None: it does not."""
    if item.state is State.UNOWNED:
        return SkipReason.UNMAPPED.text
    skip_reason, _ = _why_a_person(item)
    return None if skip_reason is None else skip_reason.text
