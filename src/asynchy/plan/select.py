"""From the visits that the portal told to the experiments that may be fetched now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.visit import EquipmentVisits, Visit
from asynchy.plan.outcome import Left, LeftOut

CURRENT = timedelta(hours=1)
"""A visit that runs now or begins within this time is current (the original's rule)."""


@dataclass(frozen=True)
class Candidate:
    """An experiment with an ended visit."""

    experiment: Experiment
    last_end: datetime
    """When the latest of its ended visits ended."""
    unreadable: str | None = None
    """Why a further visit of the EPN could not be read; it may be running."""


@dataclass(frozen=True)
class Selection:
    """The experiments that may be fetched, those that may not yet, and what is not known."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]


def is_current(visit: Visit, now: datetime) -> bool:
    """Whether the visit runs now or begins within the hour."""
    return visit.start <= now + CURRENT and visit.end >= now


def reference(visits: Iterable[Visit], now: datetime) -> datetime:
    """The earliest start of a current visit, or now: what ended before it may be fetched."""
    return min([now, *(visit.start for visit in visits if is_current(visit, now))])


def before(moment: datetime, days: int) -> datetime:
    """The time so many days before, or the earliest there is."""
    try:
        return moment - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def select(answers: Sequence[EquipmentVisits], now: datetime, day_range: int) -> Selection:
    """Who may be fetched: EPNs with a visit that ended in the range, and none that is current.

    `day_range` counts the days back from the `reference`. A current visit of an EPN holds it
    back whatever the equipment.
    """
    everything = [visit for answer in answers for visit in answer.visits]
    until = reference(everything, now)
    since = before(until, day_range)
    running = {visit.epn for visit in everything if is_current(visit, now)}
    ended: dict[Experiment, datetime] = {}
    later: set[Epn] = set()
    for answer in answers:
        for visit in answer.visits:
            if visit.epn in running or not since <= visit.end < now:
                continue
            if visit.end >= until:
                later.add(visit.epn)
                continue
            experiment = Experiment(answer.beamline, visit.epn)
            ended[experiment] = max(visit.end, ended.get(experiment, visit.end))
    unreadable = _unreadable(answers)
    chosen = {experiment.epn for experiment in ended}
    candidates = [
        Candidate(experiment, end, unreadable.get(experiment.epn))
        for experiment, end in sorted(ended.items(), key=lambda item: (item[1], item[0]))
    ]
    left = [LeftOut(epn, Left.RUNNING) for epn in sorted(running)]
    left += [LeftOut(epn, Left.LATER) for epn in sorted(later - chosen)]
    left += [
        LeftOut(epn, Left.UNREADABLE, reason)
        for epn, reason in sorted(unreadable.items())
        if epn not in chosen | running | later
    ]
    problems = tuple(answer.problem for answer in answers if answer.problem)
    return Selection(tuple(candidates), tuple(left), problems)


def _unreadable(answers: Iterable[EquipmentVisits]) -> dict[Epn, str]:
    found: dict[Epn, str] = {}
    for answer in answers:
        for visit in answer.unreadable:
            if visit.epn is not None:
                found.setdefault(visit.epn, visit.reason)
    return found
