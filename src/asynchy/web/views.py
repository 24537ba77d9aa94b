"""What pages and the API show, as values: what needs a person, what runs, what happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asynchy.model.access import OperatorAction
from asynchy.model.attempt import Attempt, ServiceState, Verdict
from asynchy.model.copy_record import CopyRecord
from asynchy.model.event import Event
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import count, duration
from asynchy.model.pause import Pause
from asynchy.model.transfer_progress import RateSample, RunningTransfer
from asynchy.model.verification import Check
from asynchy.model.visit import Visit
from asynchy.web.file_totals import FileTotals
from asynchy.web.snapshot import StateView

_GOOD = (Verdict.COMPLETE, Verdict.TRANSFERRED)


@dataclass(frozen=True)
class LiveView:
    """What goes on right now, as the catalogue says; the same for everybody."""

    now: datetime
    service: ServiceState | None
    """What mxsync last said of itself; None: it never ran as a service."""
    others: tuple[ServiceState, ...]
    pause: Pause | None
    running: tuple[RunningTransfer, ...]
    samples: tuple[RateSample, ...]
    """Of the last hour, a minute each, also those in which nothing arrived."""
    complete_cycle: datetime | None = None
    """When the latest cycle ended in which portal and facility told all; None: none did."""
    connections: int = 0
    """Connections of this machine to the facility's server."""
    most_connections: int = 0
    """How many it may have at a time."""

    @property
    def rate(self) -> float:
        """Bytes a second of all transfers that run."""
        return sum(one.rate for one in self.running if not one.doing)

    @property
    def hour_bytes(self) -> int:
        """What arrived in the last hour."""
        return sum(one.bytes for one in self.samples)


@dataclass(frozen=True)
class Problem:
    """Why the pages may not tell all, or nothing comes home."""

    text: str
    what_to_do: str = ""
    is_grave: bool = True
    """Whether nothing comes home because of it, or it is not known whether anything does."""


@dataclass(frozen=True)
class NowView:
    """What an operator reads first."""

    live: LiveView
    states: StateView | None
    problems: tuple[Problem, ...]
    urgent: tuple[ExperimentSummary, ...]
    """The first of those that need a person."""
    number_urgent: int
    causes: dict[str, int]
    """Why experiments need a person, and how many do because of that."""
    number_looked_at: int
    """Experiments that are at home, and of which a person should look at something."""
    counts: dict[str, int]
    """Experiments by state."""
    latest: tuple[Any, ...]
    """The latest attempts."""

    @property
    def total(self) -> int:
        """All experiments that are known."""
        return sum(self.counts.values())

    @property
    def is_known(self) -> bool:
        """Whether what the page says is all that is to be said."""
        return self.states is not None and not self.problems


@dataclass(frozen=True)
class TimelineEntry:
    """Something that happened to an experiment."""

    at: datetime
    what: str
    """In a few words."""
    detail: str = ""
    is_good: bool | None = None
    """Whether it is as it should be; None: neither."""


@dataclass(frozen=True)
class ExperimentView:
    """All that is known of one experiment."""

    summary: ExperimentSummary
    states: StateView
    copies: tuple[CopyRecord, ...]
    visits: tuple[Visit, ...]
    attempts: tuple[tuple[str, Attempt], ...]
    """With the destination of each, the oldest first."""
    checks: tuple[tuple[str, Check], ...]
    events: tuple[Event, ...]
    actions: tuple[OperatorAction, ...]
    running: tuple[RunningTransfer, ...]
    files: FileTotals | None
    """None: they are being added up."""
    siblings: tuple[ExperimentSummary, ...] = field(default=())
    """Experiments of the same EPN on other beamlines."""

    @property
    def failure(self) -> Attempt | None:
        """The latest attempt, if it did not bring all of it."""
        latest = max((one for _, one in self.attempts), key=lambda one: one.ended, default=None)
        return None if latest is None or latest.verdict in _GOOD else latest

    @property
    def timeline(self) -> list[TimelineEntry]:
        """What happened, the latest first."""
        now = datetime.now(UTC)
        found = [*_visits(self.visits, now), *_attempts(self.attempts), *_checks(self.checks)]
        found += [TimelineEntry(one.at, one.kind.value, one.detail) for one in self.events]
        found += [
            TimelineEntry(one.at, f"{one.action.value} by {one.who}", one.outcome)
            for one in self.actions
        ]
        gone = self.summary.vanished
        if gone is not None:
            found.append(TimelineEntry(gone, "no longer found at the facility"))
        return sorted(found, key=lambda entry: entry.at, reverse=True)


def _visits(visits: Iterable[Visit], now: datetime) -> Iterable[TimelineEntry]:
    for one in visits:
        length = duration((one.end - one.start).total_seconds())
        state = "ended" if one.end <= now else "is running" if one.start <= now else "is planned"
        when = one.end if one.end <= now else one.start
        yield TimelineEntry(when, f"a visit {state}", f"{one.title} ({length})".strip())


def _attempts(attempts: Iterable[tuple[str, Attempt]]) -> Iterable[TimelineEntry]:
    for _, one in attempts:
        good = one.verdict in _GOOD
        if one.verdict is Verdict.COMPLETE and not one.engine:
            what = "found complete at home"
        else:
            what = f"transfer: {one.verdict.value}"
        yield TimelineEntry(one.ended, what, one.reason or "", good)


def _checks(checks: Iterable[tuple[str, Check]]) -> Iterable[TimelineEntry]:
    for _, one in checks:
        wrong = one.different + one.missing
        found = f"{count(one.files, 'file')}, {f'{wrong:,} wrong' if wrong else 'none wrong'}"
        unfinished = "" if one.whole else "; not finished"
        name = {"verify": "verification", "audit": "audit"}.get(one.kind, one.kind)
        yield TimelineEntry(
            one.ended, f"{name} ({one.way})", f"{found}{unfinished}", not wrong and one.whole
        )
