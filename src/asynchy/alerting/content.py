"""The content of an alert: EPNs without a project, and experiments that are not at home."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.alerting.suggestions import Suggestion
from asynchy.errors import ExitCode
from asynchy.model.epn import Epn
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.info_file import Info
from asynchy.model.notification import DataAtFacility, NotificationHistory
from asynchy.model.person import Person
from asynchy.model.plan import SkipReason
from asynchy.model.visit import Beamtime
from asynchy.reporting.at_risk import AtRisk


@dataclass(frozen=True)
class Unknown:
    """An EPN whose proposal is in no project."""

    epn: Epn
    beamlines: tuple[str, ...]
    """Where its data are, or its visits were."""
    beamtimes: tuple[Beamtime, ...]
    """The latest first."""
    info: Info | None
    """The content of the file beside the data, if the portal reports nothing."""
    waiting: DataAtFacility | None
    """None: the catalogue has not looked into it."""
    suggestion: Suggestion | None
    reported: NotificationHistory | None
    """None: it is new."""

    @property
    def principal(self) -> Person | None:
        """The principal scientist, if known."""
        if self.beamtimes:
            return self.beamtimes[0].visit.principal
        return self.info.principal if self.info else None

    @property
    def scientists(self) -> tuple[Person, ...]:
        """The other scientists."""
        if self.beamtimes:
            return self.beamtimes[0].visit.scientists
        return self.info.users if self.info else ()


@dataclass(frozen=True)
class Overdue:
    """An experiment that should be at home, and is not."""

    epn: Epn
    project: str
    since: datetime
    """When it was first left undone."""
    latest: datetime
    """When it was last tried or looked at."""
    reason: str


@dataclass(frozen=True)
class Alert:
    """The content of one mail."""

    unknown: tuple[Unknown, ...]
    overdue: tuple[Overdue, ...]
    problems: tuple[str, ...]
    """Failed requests; if there is one, more may be unknown."""
    at_risk: tuple[AtRisk, ...] = ()
    """Experiments not at home that the facility deletes soon, or may have deleted."""
    attention: tuple[str, ...] = ()
    """Sentences about other things that need a person."""
    notes: tuple[str, ...] = ()
    """Further notes for people."""
    new_notes: bool = False
    """Whether one of them was in no mail yet: then a mail is sent."""
    state_lost: bool = False
    """Whether a problem is that a part of `ignore.yml` or of the catalogue cannot be used."""

    @property
    def past(self) -> tuple[AtRisk, ...]:
        """Experiments that the facility may have deleted already."""
        return tuple(item for item in self.at_risk if item.is_past)

    @property
    def soon(self) -> tuple[AtRisk, ...]:
        """Experiments that it deletes soon, the most urgent first."""
        return tuple(item for item in self.at_risk if not item.is_past)

    @property
    def anything(self) -> bool:
        """Whether there is anything to report."""
        return self.needs_answer or self.new_notes

    @property
    def needs_answer(self) -> bool:
        """Whether there is more to report than notes."""
        return bool(self.unknown or self.overdue or self.problems or self.at_risk or self.attention)

    @property
    def is_news(self) -> bool:
        """Whether anything of it is more than an unknown EPN that was reported before."""
        news = self.new or self.problems or self.overdue or self.at_risk or self.attention
        return bool(news or self.new_notes)

    @property
    def new(self) -> tuple[Unknown, ...]:
        """The unknown EPNs that were never reported."""
        return tuple(item for item in self.unknown if item.reported is None)

    @property
    def with_visits(self) -> tuple[Unknown, ...]:
        """The unknown EPNs that the portal knows a visit of."""
        return tuple(item for item in self.unknown if item.beamtimes)

    @property
    def without_visits(self) -> tuple[Unknown, ...]:
        """The unknown EPNs without a visit at the portal."""
        return tuple(item for item in self.unknown if not item.beamtimes)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run with this content, once its mail was taken."""
        if self.state_lost:
            return ExitCode.STATE_ERROR
        return ExitCode.REMOTE_UNAVAILABLE if self.problems else ExitCode.OK

    @property
    def subject(self) -> str:
        """The mail's subject."""
        if self.state_lost:
            return "ignore.yml or the catalogue cannot be used"
        if self.unknown:
            return "Unknown ownership of EPNs"
        if self.problems:
            return "EPNs could not be looked for"
        if self.at_risk:
            return "Experiments that the facility deletes soon"
        if self.overdue:
            return "Experiments that do not come home"
        return "Experiments that need a person" if self.attention else "Experiments not asked for"


def unknown_epns(states: Iterable[ExperimentState]) -> dict[Epn, list[ExperimentRecord]]:
    """The EPNs of no project, in order, each with its experiments."""
    records_by_epn: dict[Epn, list[ExperimentRecord]] = {}
    for item in states:
        if item.state is State.UNOWNED:
            records_by_epn.setdefault(item.record.epn, []).append(item.record)
    return dict(sorted(records_by_epn.items()))


def overdue(states: Iterable[ExperimentState], days: int, now: datetime) -> tuple[Overdue, ...]:
    """Experiments that have been due for `days` days."""
    limit = []
    for item in states:
        note = item.record.note
        if note is None or item.is_settled or item.state not in (State.DUE, State.GONE):
            continue
        if item.left is SkipReason.UNCOMPARED:
            continue  # no cycle changes that
        if now - note.since >= timedelta(days=days):
            project = item.project or note.project
            limit.append(Overdue(item.record.epn, project, note.since, note.latest, note.reason))
    return tuple(sorted(limit, key=lambda item: (item.since, item.epn)))
