"""Made alerts, with which a site's templates are tried before they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from asynchy.alerting.content import Alert, Overdue, Unknown
from asynchy.alerting.mail_context import MailContext
from asynchy.alerting.suggestions import Suggestion
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.info_file import Info
from asynchy.model.notification import DataAtFacility, NotificationHistory
from asynchy.model.person import Person
from asynchy.model.visit import Beamtime, Visit
from asynchy.reporting.at_risk import AtRisk

_NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
_SAMPLE_EPNS = 9
"""More than a row of EPNs holds."""
_ADA = Person("Ada", "Lovelace", "ada@uni.example", "University of X")
_NAMELESS = Person()


def samples() -> Iterator[tuple[Alert, MailContext]]:
    """Alerts with everything, with one thing each, and with nothing."""
    around = MailContext("asynchy --config config.yml", 30, 3, 14, _NOW)
    full = Alert(
        unknown=tuple(_unknown()),
        overdue=tuple(_overdue(number) for number in range(_SAMPLE_EPNS)),
        problems=("equipment 23: the portal did not answer in time",),
        at_risk=tuple(_at_risk(days) for days in (-40, 0, 1, 9)),
        attention=("A visit of 12282a has been running since 2026-11-01.",),
        notes=("2 experiments are visible, and were in no visit.",),
        new_notes=True,
    )
    empty = Alert((), (), ())
    yield full, around
    yield empty, around
    for name in ("unknown", "overdue", "problems", "at_risk", "attention", "notes"):
        yield replace(empty, **{name: getattr(full, name)}), around
    for item in full.unknown:
        yield replace(empty, unknown=(item,)), around


def _unknown() -> Iterator[Unknown]:
    is_reported = NotificationHistory(_NOW - timedelta(days=3), 2)
    suggestion = Suggestion("ny79", "the same principal scientist as 12282a")
    for number, principal in enumerate((_ADA, _NAMELESS, None)):
        epn = Epn(f"9999{number}a")
        visit = Visit(
            id=str(number),
            epn=epn,
            start=_NOW - timedelta(days=9),
            end=_NOW - timedelta(days=8),
            title="Structures of things" if number else "",
            principal=principal,
            scientists=(_ADA, _NAMELESS)[:number],
        )
        yield Unknown(
            epn=epn,
            beamlines=("mx",),
            beamtimes=(Beamtime(visit, "mx"),) * (number + 1),
            info=None,
            waiting=DataAtFacility(7, 7_000_000) if number else None,
            suggestion=suggestion if number else None,
            reported=is_reported if number else None,
        )
    info = Info(principal=_ADA, users=(_ADA,), start="2026-11-01 08:00:00")
    for number in range(_SAMPLE_EPNS):
        yield Unknown(
            epn=Epn(f"7000{number}x"),
            beamlines=("mx",),
            beamtimes=(),
            info=info if number else None,
            waiting=DataAtFacility(number, number) if number else None,
            suggestion=None,
            reported=is_reported if number else None,
        )


def _overdue(number: int) -> Overdue:
    since = _NOW - timedelta(days=number + 3)
    return Overdue(Epn(f"1228{number}a"), "ny79", since, _NOW, "the server refused the SSH key")


def _at_risk(days: int) -> AtRisk:
    known = days != 0
    ended = _NOW - timedelta(days=90 - days)
    return AtRisk(
        experiment=Experiment("mx", Epn("8020l")),
        source="/data/mx/8020l",
        project="ny79" if known else None,
        principal=_ADA if known else None,
        files=7 if known else None,
        bytes=7_000_000 if known else None,
        lack="not fetched yet",
        visit_end=ended,
        counted_from=ended,
        retention=90,
        now=_NOW,
    )
