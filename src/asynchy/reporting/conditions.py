"""What holds now that people should be told: a `Condition` for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import day, moment
from asynchy.model.news import Condition, NewsKind
from asynchy.model.plan import SkipReason
from asynchy.model.plan_overview import attention_items
from asynchy.model.safety import damage_words, name_of
from asynchy.reporting.at_risk import AtRisk

PORTAL, SERVER = "The portal", "The facility's server"
"""What can be unreachable, as people read it."""


def conditions(
    states: Sequence[ExperimentState], at_risk: Iterable[AtRisk], now: datetime
) -> list[Condition]:
    """What the states of all experiments say."""
    return [
        *_unknown(states),
        *_needs_person(states, now),
        *_damaged(states),
        *_at_risk(at_risk),
    ]


def unreachable(
    since: Mapping[str, datetime | None],
    reasons: Mapping[str, Sequence[str]],
    hours: float,
    now: datetime,
) -> list[Condition]:
    """What could not be asked for so many hours; `since` and `reasons` are by what it is."""
    return [
        Condition(
            NewsKind.UNREACHABLE,
            what,
            f"{what} could not be asked completely since {moment(begin)}: {reasons[what][0]}",
        )
        for what, begin in since.items()
        if begin is not None and now - begin >= timedelta(hours=hours)
    ]


def _unknown(states: Iterable[ExperimentState]) -> Iterator[Condition]:
    for item in states:
        if item.state is State.UNOWNED:
            name, record = name_of(item.experiment), item.record
            text = f"{name}: no project for its proposal {record.epn.proposal} (asynchy map add)"
            who = str(record.principal or "")
            yield Condition(NewsKind.UNKNOWN_EPN, name, text, item.experiment, people=who)


def _needs_person(states: Iterable[ExperimentState], now: datetime) -> Iterator[Condition]:
    for one in attention_items(states, now):
        if one.item.left is not SkipReason.DAMAGED:
            yield Condition(
                NewsKind.NEEDS_PERSON, one.key, one.text, one.item.experiment, one.item.project
            )


def _damaged(states: Iterable[ExperimentState]) -> Iterator[Condition]:
    for item in states:
        name = name_of(item.experiment)
        for copy in item.record.copies:
            if copy.is_damaged:
                yield Condition(
                    NewsKind.DAMAGED,
                    f"{name} {copy.id}",
                    f"{name}: {damage_words(copy)}",
                    item.experiment,
                    copy.copy.project,
                )


def _at_risk(found: Iterable[AtRisk]) -> Iterator[Condition]:
    for one in found:
        until = one.kept_until
        if until is None:
            continue
        name = name_of(one.experiment)
        when = "may have deleted it on" if one.is_past else "may delete it from"
        yield Condition(
            NewsKind.AT_RISK,
            f"{name} {'past' if one.is_past else 'soon'}",
            f"{name}: the facility {when} {day(until)}: {one.lack}",
            one.experiment,
            one.project,
            str(one.principal or ""),
        )
