"""Derives the states of all experiments, and what follows from them, and writes the snapshot.

It runs in a process of its own: for 100,000 experiments it takes seconds and hundreds of MB, and it
looks at each copy's place at home, which may not answer.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asynchy.alerting.suggestions import ProjectSuggestions, Suggestion
from asynchy.catalogue import Catalogue
from asynchy.catalogue.reading import ScratchFolder
from asynchy.catalogue.state_snapshot import StateSnapshot, write_state_snapshot
from asynchy.config import Settings, load
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import escaped
from asynchy.model.plan import SkipReason
from asynchy.model.plan_overview import attention, cause_for_person, replaced_sentence
from asynchy.repatriation.lost_state import lost_error, read_state_files
from asynchy.reporting.at_risk import AtRisk, Risks
from asynchy.reporting.failure_causes import CauseTotals, by_cause
from asynchy.reporting.forecast import Forecast, forecast
from asynchy.reporting.next_steps import next_step, why
from asynchy.reporting.reports import asked_level, free_at, notices, risks, states
from asynchy.web.snapshot import StateView

_RATE_DAYS = 28
"""Over which the rate of the forecast is measured."""
_DAYS_BACK = 400
"""Days of which it is stored what attempts came to."""
_NEVER = datetime.max.replace(tzinfo=UTC)
_LATE_NAMED = 50


def refresh(config: str, target: str) -> float:
    """Write a snapshot of the states that a config asks for; how many seconds it took.

    Raises:
        ConfigError: the config cannot be used.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue is gone or cannot be read, or the snapshot not be written.
    """
    settings = load(Path(config)).settings
    return _write(settings, Catalogue.open_existing(settings.catalogue_address), config, target)


def _write(settings: Settings, catalogue: Catalogue, config: str, target: str) -> float:
    began = time.monotonic()
    now = datetime.now(UTC)
    state_files = read_state_files(settings, write=False)
    found, policy = states(settings, catalogue, state_files.entries, now)
    risky = _risks(settings, found, now)
    by_experiment = {one.experiment: one for one in risky.items}
    lost = lost_error(state_files)
    kept = {one.experiment: one.kept_until for one in risky.items if one.kept_until is not None}
    since = now - timedelta(days=_RATE_DAYS)
    attempts = catalogue.history.attempts(since, now)
    expected = forecast(
        found,
        attempts,
        kept,
        now,
        days=_RATE_DAYS,
        free_at=free_at,
    )
    age = catalogue.overview.data_age()
    write_state_snapshot(
        Path(target),
        sorted(_summaries(settings, catalogue, found, by_experiment, config, now), key=_urgency),
        {
            "at": now.isoformat(),
            "notices": notices(settings, catalogue, found, policy),
            "lost": None if lost is None else [lost.message, lost.hint],
            "portal": _iso(age.portal),
            "walk": _iso(age.walk),
            "not_complete_and_gone": len(risky.lost),
            "forecast": _forecast(expected),
            "errors": [_errors(one) for one in by_cause(attempts, now)],
            "days": [asdict(day) for day in catalogue.web.days(now - timedelta(days=_DAYS_BACK))],
            "seconds": time.monotonic() - began,
        },
    )
    return time.monotonic() - began


@contextmanager
def states_now(config: Path) -> Iterator[StateView]:
    """The states, derived here and now, for a command that needs them once.

    Raises as `refresh`; without a catalogue there are no experiments.
    """
    folder = ScratchFolder()
    path = folder.path / "states.db"
    settings = load(config).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    _write(settings, catalogue, str(config), str(path))
    snapshot = StateSnapshot(path)
    yield StateView(snapshot, snapshot.facts(), None)


def _risks(settings: Settings, found: Sequence[ExperimentState], now: datetime) -> Risks:
    if not found:
        return Risks(())
    return risks(settings, asked_level(settings), now, [item.record for item in found])


def _summaries(  # noqa: PLR0913, PLR0917 - all that is known
    settings: Settings,
    catalogue: Catalogue,
    found: Sequence[ExperimentState],
    risky: dict[Experiment, AtRisk],
    config: str,
    now: datetime,
) -> Iterator[ExperimentSummary]:
    titles = catalogue.web.titles()
    suggested = _suggestions(settings, catalogue, found)
    for item in found:
        yield summary(
            item,
            config,
            title=titles.get(item.record.epn.text, ""),
            risk=risky.get(item.experiment),
            suggestion=suggested.get(item.experiment),
            now=now,
        )


def summary(  # noqa: PLR0913 - all that is known of it
    item: ExperimentState,
    config: str,
    *,
    title: str,
    risk: AtRisk | None,
    suggestion: Suggestion | None,
    now: datetime,
) -> ExperimentSummary:
    """One experiment as lists show it."""
    record, copy, principal = item.record, item.copy, item.record.principal
    held = [
        one for one in record.copies if one.completed is not None and one.presence is Presence.THERE
    ]
    copy = copy or next(iter(record.copies), None)
    measured = record.beamtimes[-1].visit.end if record.beamtimes else record.modified
    place = copy.copy.destination if copy else item.wanted.destination if item.wanted else ""
    return ExperimentSummary(
        epn=record.epn.text,
        beamline=record.experiment.beamline,
        proposal=int(record.epn.proposal),
        project=item.project or "",
        state=item.state.name.lower(),
        cause=cause_for_person(item) or "",
        is_settled=item.is_settled,
        is_asked_for=item.state is State.DUE and item.left is None,
        why=f"being fetched: {item.reason}" if item.left is SkipReason.CLAIMED else why(item),
        next_step=next_step(item, config) or "",
        attention=_attention(item, now),
        title=title,
        person=principal.name if principal else "",
        email=principal.email if principal else "",
        measured=measured,
        year=str(measured.astimezone().year) if measured else "",
        files=record.files,
        bytes=record.bytes,
        home_files=sum(one.files or 0 for one in held),
        home_bytes=sum(one.bytes or 0 for one in held),
        damaged=sum(one.damaged + one.lost_links for one in record.copies),
        level=copy.level.word if copy and copy.level and copy.completed else "",
        completed=copy.completed if copy else None,
        verified=copy.verified if copy else None,
        left_out=_left_out(copy) if copy and copy.completed else "",
        destination=escaped(str(place)) if place else "",
        source=escaped(record.source),
        vanished=record.vanished,
        risk=risk.lack if risk else "",
        kept_until=risk.kept_until if risk else None,
        suggestion=suggestion.project if suggestion else "",
        suggestion_reason=suggestion.reason if suggestion else "",
    )


def _left_out(copy: CopyRecord) -> str:
    return "not counted" if copy.left_out is None else str(copy.left_out)


def _urgency(row: ExperimentSummary) -> tuple[int, bool, datetime, float, int, str, str]:
    """What needs a person first, then what the facility deletes next, then what is newest."""
    needs = 0 if row.cause else 1 if row.attention else 2
    latest = row.measured.timestamp() if row.measured else 0.0
    until = row.kept_until or _NEVER
    return needs, row.is_settled, until, -latest, row.proposal, row.epn, row.beamline


def _attention(item: ExperimentState, now: datetime) -> str:
    """What a person should look at, though it is at home: what was lost, or replaced by less."""
    if cause_for_person(item) is not None:
        return ""
    return "; ".join(attention([item], now)) or "; ".join(
        replaced_sentence(one) for one in item.record.copies if one.replaced.by_less
    )


def _suggestions(
    settings: Settings, catalogue: Catalogue, found: Sequence[ExperimentState]
) -> dict[Experiment, Suggestion]:
    """The projects that experiments without one probably belong to."""
    unowned = [item for item in found if item.state is State.UNOWNED]
    if not unowned:
        return {}
    visits = catalogue.web.visits_with_people(settings.epn_cap_map.keys())
    known = ProjectSuggestions(visits, settings.epn_cap_map)
    made: dict[Experiment, Suggestion] = {}
    for item in unowned:
        principal = item.record.principal
        led = known.projects_led(principal) if principal else []
        if len(led) > 1:  # which one it is, a person has to say
            reason = f"the same principal scientist has measured for {', '.join(led)}"
            made[item.experiment] = Suggestion("", reason)
            continue
        suggestion = known.of(principal, [principal] if principal else [])
        if suggestion is not None:
            made[item.experiment] = suggestion
    return made


def _forecast(found: Forecast) -> dict[str, Any]:
    return {
        "experiments": len(found.backlog),
        "bytes": found.bytes,
        "unknown": found.unknown,
        "waiting": found.waiting,
        "held_back": found.held_back,
        "rate": found.rate,
        "days": found.days,
        "moved": found.moved,
        "done": _iso(found.done),
        "number_late": len(found.late),
        "deadlines": _deadlines(found),
        "late": [
            {
                "epn": one.experiment.epn.text,
                "beamline": one.experiment.beamline,
                "project": one.project,
                "bytes": one.bytes if one.known else None,
                "home": _iso(one.home),
                "kept_until": _iso(one.kept_until),
            }
            for one in found.late[:_LATE_NAMED]
        ],
        "disks": [
            {
                "folders": [escaped(name) for name in disk.folders[:_LATE_NAMED]],
                "wanted": disk.wanted,
                "free": disk.free,
                "fits": disk.fits,
            }
            for disk in found.disks
        ],
    }


def _deadlines(found: Forecast) -> list[dict[str, Any]]:
    """The bytes of the backlog by the local day until which the facility keeps them."""
    by_day: dict[str, int] = defaultdict(int)
    for one in found.backlog:
        if one.kept_until is not None:
            by_day[one.kept_until.astimezone().date().isoformat()] += one.bytes
    return [{"day": day, "bytes": size} for day, size in sorted(by_day.items())]


def _errors(found: CauseTotals) -> dict[str, Any]:
    return {
        "name": found.cause.name.lower(),
        "text": found.cause.value,
        "what_to_do": found.cause.what_to_do,
        "attempts": found.attempts,
        "lately": found.lately,
        "experiments": found.experiments,
        "latest": _iso(found.latest),
        "epn": found.example.epn.text,
        "beamline": found.example.beamline,
    }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
