"""What `asynchy status --json` prints: the service, what is due, and every copy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from asynchy.catalogue import Catalogue
from asynchy.errors import NothingKnown
from asynchy.model.attempt import Attempt
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.transfer_progress import RunningTransfer
from asynchy.reporting.next_steps import next_step, why
from asynchy.reporting.unseen import Unseen


def print_json(  # noqa: PLR0913 - all that is known
    catalogue: Catalogue,
    states: Sequence[ExperimentState],
    copies: Iterable[CopyRecord],
    epn: Epn | None,
    config: str,
    *,
    all_known: bool,
    unseen: Unseen | None = None,
) -> None:
    """Print the object. `copies` are those of the catalogue if there are no states.

    Unless `all_known`, it is not known what is due. `unseen`: what is said of an EPN that is no
    experiment yet.

    Raises:
        NothingKnown: there is nothing of the EPN that was named.
    """
    rows: list[tuple[CopyRecord | None, ExperimentState | None]] = [
        (copy, item) for item in states for copy in item.record.copies or [None]
    ]
    rows = rows or [(copy, None) for copy in copies]
    last = catalogue.last_attempts([copy.id for copy, _ in rows if copy is not None])
    running = {one.destination: one for one in catalogue.transfers.running()}
    made = [_of_copy(copy, last, running) | _of_state(item, config) for copy, item in rows]
    if unseen is not None:
        made.append(dict.fromkeys(_FIELDS) | asdict(unseen) | {"epn": unseen.epn.text})
    if epn is not None:
        _add_history(catalogue, made, epn)
    pause = catalogue.pauses.current(datetime.now(UTC))
    service = next(iter(catalogue.services()), None)
    told = {
        "service": None if service is None else asdict(service),
        "pause": None if pause is None else asdict(pause),
        "due": _due(states, config) if all_known else None,
        "copies": [row for row in made if row["id"] is not None],
        "without_copy": [row for row in made if row["id"] is None],
    }
    click.echo(json.dumps(told, indent=2, default=_plain))


def _add_history(catalogue: Catalogue, made: Sequence[dict[str, Any]], epn: Epn) -> None:
    """Add every attempt, every check and every event to the rows of an EPN.

    Raises:
        NothingKnown: there are no rows.
    """
    if not made:
        raise NothingKnown(
            f"the catalogue knows nothing of {epn}",
            hint="`asynchy status EPN` without --json says why",
        )
    events = [
        {"at": one.at, "beamline": one.experiment.beamline, "what": one.kind.value,
         "detail": one.detail}
        for one in catalogue.decisions.events_of(epn.text)
    ]  # fmt: skip
    attempts = catalogue.history.attempts_of(epn.text)
    checks = catalogue.history.checks_of(epn.text)
    for row in made:
        row["history"] = [asdict(a) for d, a in attempts if d == row["destination"]]
        row["checks"] = [asdict(c) for d, c in checks if d == row["destination"]]
        row["events"] = [event for event in events if event["beamline"] == row["beamline"]]


def _due(states: Sequence[ExperimentState], config: str) -> list[dict[str, Any]]:
    """The experiments that are due, whether they have a copy or not."""
    return [
        {
            "epn": item.record.epn.text,
            "beamline": item.experiment.beamline,
            "project": item.project,
            "reason": why(item) or None,
            "next_step": next_step(item, config),
        }
        for item in states
        if item.state is State.DUE
    ]


def _of_progress(told: RunningTransfer | None) -> dict[str, Any] | None:
    """How far the process is that works on a copy; None: none does, or it has not told yet."""
    if told is None:
        return None
    return {
        "doing": told.doing or "fetching",
        "bytes": told.bytes,
        "bytes_done": told.done,
        "files": told.files,
        "files_done": told.files_done,
        "bytes_a_second": round(told.rate),
        "seconds_left": None if told.left is None else round(told.left),
        "at": told.heartbeat,
    }


def _of_state(item: ExperimentState | None, config: str) -> dict[str, Any]:
    """The state of the experiment, in the words of `asynchy status EPN`; None: it has none.

    It has none if the config has no mapping, as that of `asynchy sync`.
    """
    if item is None:
        return {"state": None, "reason": None, "next_step": None}
    row = {
        "state": item.state.value,
        "reason": why(item) or None,
        "next_step": next_step(item, config),
    }
    if not item.record.copies:
        row |= {
            "epn": item.record.epn.text,
            "beamline": item.experiment.beamline,
            "project": item.project,
        }
    return row


def _of_copy(
    copy: CopyRecord | None, last: Mapping[int, Attempt], running: Mapping[str, RunningTransfer]
) -> dict[str, Any]:
    if copy is None:
        return dict.fromkeys(_FIELDS)
    attempt = last.get(copy.id)
    return {
        "id": copy.id,
        "epn": copy.copy.epn.text,
        "beamline": copy.copy.experiment.beamline,
        "project": copy.copy.project,
        "destination": str(copy.copy.destination),
        "completed": copy.completed,
        "present": copy.presence.name.lower(),
        "level": copy.level.word if copy.level else None,
        "verified": copy.verified,
        "damaged": copy.damaged,
        "missing": copy.missing,
        "lost_links": copy.lost_links,
        "edited": copy.edited,
        "replaced": asdict(copy.replaced) | {"latest": copy.replaced_at},
        "left_out": asdict(copy.left_out) if copy.left_out is not None else None,
        "files": copy.files,
        "bytes": copy.bytes,
        "attempts": copy.attempts,
        "last": asdict(attempt) if attempt else None,
        "claim": asdict(copy.claim) if copy.claim else None,
        "progress": _of_progress(running.get(str(copy.copy.destination))),
    }


_FIELDS = (
    "id", "epn", "beamline", "project", "destination", "completed", "present", "level", "verified",
    "damaged", "missing", "lost_links", "edited", "replaced", "left_out", "files", "bytes",
    "attempts", "last", "claim", "progress",
)  # fmt: skip


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
