"""What a cycle leaves alone, counted and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.experiment import Experiment
from asynchy.domain.text import count, moment
from asynchy.plan.experiment_state import ExperimentState, State
from asynchy.plan.outcome import Left
from asynchy.plan.policy import Policy
from asynchy.plan.safety import name_of, replaced_words

_NAMED = 10
_LOSSES_TOLD = timedelta(days=14)


@dataclass(frozen=True)
class Overview:
    """How many experiments are in which state, and those that people should know by name."""

    counts: Counter[State]
    elsewhere: tuple[ExperimentState, ...]
    """Complete at another place than the config asks for."""
    outside: tuple[Experiment, ...]
    """Visible and ours, but never in a visit: only `fetch-visible` makes them due."""
    shrunk: tuple[ExperimentState, ...]
    """The facility no longer has all that their copies hold."""
    replaced: tuple[CopyRecord, ...]
    """Copies beside which earlier versions of files are kept."""


def overview_of(states: Iterable[ExperimentState]) -> Overview:
    """The overview of the states of all experiments."""
    found = list(states)
    return Overview(
        counts=Counter(item.state for item in found),
        elsewhere=tuple(item for item in found if item.is_elsewhere),
        outside=tuple(item.experiment for item in found if item.state is State.OUTSIDE),
        shrunk=tuple(item for item in found if item.copy is not None and item.copy.losses),
        replaced=tuple(
            copy for item in found for copy in item.record.copies if copy.replaced.files
        ),
    )


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def sentences(overview: Overview, *, shrunk: bool = True) -> list[str]:
    """What a plan, a status and a mail say of it, a sentence each.

    `shrunk`: also what the facility lost, which a mail says in another part.
    """
    said = []
    if overview.outside:
        number = count(len(overview.outside), "experiment is", "experiments are")
        names = named([name_of(one) for one in overview.outside])
        said.append(
            f"{number} visible at the SFTP service and ours, but in no visit that the portal tells "
            f"of: {names}. `fetch-visible: true` fetches what is visible."
        )
    for item in overview.elsewhere:
        said.append(f"{name_of(item.experiment)} is complete at another place: {item.reason}")
    for item in overview.shrunk if shrunk else ():
        assert item.copy is not None
        said.append(f"{name_of(item.experiment)}: {item.copy.losses}")
    said += [
        f"{name_of(copy.copy.experiment)}: {replaced_words(copy)}"
        for copy in overview.replaced
        if shrunk or copy.replaced.by_less
    ]
    return said


def attention(states: Iterable[ExperimentState], now: datetime) -> tuple[str, ...]:
    """What will not come right by itself, a sentence each; a missing mount is named once.

    EPNs without a project are not among it: a mail has a part of its own for them. What the
    facility lost of a copy, and which files were replaced, is repeated for some days; that the
    place of a kept file has less now, until a person has seen to it.
    """
    said: dict[str, int] = {}
    for item in states:
        for one in item.record.copies:
            recent = one.replaced_at is not None and now - one.replaced_at < _LOSSES_TOLD
            if one.replaced.by_less or (one.replaced.files and recent):
                said[f"{name_of(item.experiment)}: {replaced_words(one)}"] = 1
        copy = item.copy
        if copy and copy.losses and copy.listed and now - copy.listed < _LOSSES_TOLD:
            said[f"{name_of(item.experiment)}: {copy.losses}"] = 1
        left, reason = _why_a_person(item)
        if left is None:
            continue
        if left.is_mount:
            key = f"{reason} is missing or empty: is it mounted?"
        else:
            key = f"{name_of(item.experiment)}: {left.text}{f': {reason}' if reason else ''}"
        said[key] = said.get(key, 0) + 1
    return tuple(
        f"{text} ({count(number, 'experiment')})" if number > 1 else text
        for text, number in said.items()
    )


def _why_a_person(item: ExperimentState) -> tuple[Left | None, str]:
    """Why it needs a person, by its state or by what the latest cycle found; None: it does not.

    What is only found when an experiment is listed, such as a missing project folder, is in a note.
    """
    if item.state is State.UNOWNED:
        return None, ""
    if item.left is not None:
        return (item.left, item.reason) if item.needs_person else (None, "")
    note = item.record.note
    if note is None or item.state is not State.DUE:
        return None, ""
    left = Left.said_in(note.reason)
    if left is None or not left.needs_person:
        return None, ""
    return left, note.reason.removeprefix(left.text).removeprefix(": ")


def long_visits(
    states: Iterable[ExperimentState], policy: Policy, limit: timedelta
) -> tuple[str, ...]:
    """Visits that have been running for longer than a limit, with what they hold back."""
    old = [item for item in policy.running.first if policy.now - item.visit.start > limit]
    if not old:
        return ()
    held = [item for item in states if item.left in (Left.RUNNING, Left.LATER)]
    names = named([name_of(item.experiment) for item in held])
    return tuple(
        f"A visit of {item.visit.epn} on {item.beamline} has been running since "
        f"{moment(item.visit.start)}, until {moment(item.visit.end)}. It holds back "
        f"{count(len(held), 'experiment')}: {names}. If its times are wrong, ask the facility to "
        "correct them."
        for item in old
    )
