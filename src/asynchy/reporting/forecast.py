"""When what is due will be at home, whether it fits, and what comes too late. Pure.

the backlog: what is due, in the order in which it is fetched
the rate: bytes a second while transfers ran in the last weeks
each in turn: when it is at home, by that rate, and until when the facility keeps it
for each file system at home: what goes there, and what is free
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.history import PastAttempt
from asynchy.model.pause import Pause
from asynchy.model.plan import SkipReason
from asynchy.reporting.activity import rate_of


@dataclass(frozen=True)
class Awaited:
    """An experiment that is due."""

    experiment: Experiment
    project: str
    bytes: int
    """What is left to fetch; of one that was never looked at, what the others have (the median)."""
    known: bool
    """Whether that was listed."""
    earliest: datetime | None
    """When it is at home, by the rate, if no pause is in the way for longer than is known; None:
    the rate is not known."""
    home: datetime | None
    """When it is at home; None: the rate is not known, or a pause has no end."""
    kept_until: datetime | None
    """When the facility may delete it; None: not known."""

    @property
    def late(self) -> bool:
        """Whether the facility may delete it before it is at home."""
        if self.kept_until is None or self.earliest is None:
            return False
        return self.earliest > self.kept_until


@dataclass(frozen=True)
class DiskForecast:
    """A file system at home."""

    folders: tuple[str, ...]
    """The project folders on it."""
    wanted: int
    """Bytes that are to come."""
    free: int | None
    """Bytes; None: not known, or the folder is not there."""

    @property
    def fits(self) -> bool | None:
        """Whether there is room; None: not known."""
        return None if self.free is None else self.wanted <= self.free


@dataclass(frozen=True)
class Forecast:
    """What is to come."""

    backlog: tuple[Awaited, ...]
    """In the order in which it is fetched."""
    waiting: int
    """Experiments that wait for the end of a visit; they are not among the backlog."""
    held_back: int
    """Experiments that need a person before they are fetched; nor are they."""
    rate: float | None
    """Bytes a second while transfers ran in the last weeks; None: there were none."""
    days: int
    """How many days that is measured over."""
    moved: int
    """Bytes that came home in these days."""
    disks: tuple[DiskForecast, ...]
    pause: Pause | None = None
    """Of the service, if it is paused."""

    @property
    def is_paused_for_good(self) -> bool:
        """Whether it is paused, and nobody has said until when."""
        return self.pause is not None and self.pause.until is None

    @property
    def bytes(self) -> int:
        """Of the backlog."""
        return sum(one.bytes for one in self.backlog)

    @property
    def unknown(self) -> int:
        """Experiments of the backlog that were never looked at."""
        return sum(not one.known for one in self.backlog)

    @property
    def done(self) -> datetime | None:
        """When the last of it is at home; None: not known, or nothing is due."""
        return self.backlog[-1].home if self.backlog else None

    @property
    def late(self) -> tuple[Awaited, ...]:
        """What the facility may delete before it is at home."""
        return tuple(one for one in self.backlog if one.late)


_FETCHED = (None, SkipReason.CLAIMED)
"""Nothing is in the way, or it is being fetched."""

FreeAt = Callable[[Path], tuple[int, int | None] | None]
"""The device of a project folder and the bytes that are free there; None: it is not there."""


def forecast(  # noqa: PLR0913 - what is due, what was done, and what is known besides
    states: Iterable[ExperimentState],
    attempts: Sequence[PastAttempt],
    kept_until: Mapping[Experiment, datetime],
    now: datetime,
    *,
    days: int,
    free_at: FreeAt,
    pause: Pause | None = None,
) -> Forecast:
    """What is to come, by what is due and the attempts of the last `days`.

    Nothing is fetched before the end of `pause`.
    """
    begin = pause.until if pause is not None and pause.until is not None else now
    is_open = pause is not None and pause.until is None
    found = list(states)
    due = [item for item in found if item.state is State.DUE and item.left in _FETCHED]
    due.sort(key=_order)
    rate = rate_of([one.attempt for one in attempts])
    moved = sum(one.attempt.bytes or 0 for one in attempts)
    sizes = [item.record.bytes for item in found if item.record.bytes is not None]
    usual = int(statistics.median(sizes)) if sizes else 0
    backlog: list[Awaited] = []
    before = 0
    for item in due:
        size = _left(item, usual)
        before += size
        earliest = begin + timedelta(seconds=before / rate) if rate else None
        backlog.append(
            Awaited(
                experiment=item.experiment,
                project=item.project or "",
                bytes=size,
                known=item.record.bytes is not None,
                earliest=earliest,
                home=None if is_open else earliest,
                kept_until=kept_until.get(item.experiment),
            )
        )
    return Forecast(
        backlog=tuple(backlog),
        waiting=sum(item.state is State.WAITING for item in found),
        held_back=sum(item.state is State.DUE and item.left not in _FETCHED for item in found),
        rate=rate,
        days=days,
        moved=moved,
        disks=_disks(due, backlog, free_at),
        pause=pause,
    )


def _order(item: ExperimentState) -> tuple[bool, float, str]:
    """As a cycle fetches: what was measured first comes first."""
    visits = item.record.beamtimes
    end = visits[-1].visit.end.timestamp() if visits else 0.0
    return not visits, end, item.record.epn.text


def _left(item: ExperimentState, usual: int) -> int:
    size = usual if item.record.bytes is None else item.record.bytes
    there = item.copy.bytes if item.copy is not None and item.copy.completed else None
    return max(0, size - (there or 0))


def _disks(
    due: Sequence[ExperimentState], backlog: Sequence[Awaited], free_at: FreeAt
) -> tuple[DiskForecast, ...]:
    wanted: dict[Path, int] = defaultdict(int)
    for item, awaited in zip(due, backlog, strict=True):
        if item.wanted is not None:
            wanted[item.wanted.project_folder] += awaited.bytes
    folders: dict[object, list[Path]] = defaultdict(list)
    free: dict[object, int | None] = {}
    for folder in sorted(wanted):
        found = free_at(folder)
        key: object = folder if found is None else found[0]
        folders[key].append(folder)
        free[key] = None if found is None else found[1]
    return tuple(
        DiskForecast(tuple(map(str, some)), sum(wanted[one] for one in some), free[key])
        for key, some in folders.items()
    )
