"""`asynchy status`: what is at home, what is not, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import named_epn
from asynchy.cli.show_copies import show_attempts, show_checks, show_services, show_status
from asynchy.cli.show_state import show_experiment, show_states
from asynchy.cli.tables import line
from asynchy.config import Settings, Shared, load_shared
from asynchy.domain.attempt import Attempt
from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.epn import Epn
from asynchy.errors import AsynchyError, IgnoreListError, NothingKnown
from asynchy.plan.experiment_state import ExperimentState
from asynchy.plan.policy import Origin
from asynchy.service.lost_state import lost_error, read_state_files
from asynchy.service.presence import copies_with_presence
from asynchy.service.reports import ignore_entries, notices, states


@click.command()
@click.argument("epn", required=False, callback=named_epn)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@fails_with_words
def status(file: Path, epn: str | None, as_json: bool) -> None:
    """Show what is at home, what is not and why; with an EPN, its whole story."""
    wanted = Epn(epn) if epn is not None else None
    settings = load_shared(file).settings
    catalogue = Catalogue.peek(settings.catalogue_path)
    epns = [wanted.text] if wanted else []
    found: list[ExperimentState] = []
    besides: list[str] = []
    problem: AsynchyError | None = None
    if isinstance(settings, Settings):  # otherwise nobody says which experiments are wanted
        now = datetime.now(UTC)
        try:
            files = read_state_files(settings, write=False)
            found, policy = states(settings, catalogue, files.entries, now, epns)
            besides = notices(settings, catalogue, found, policy)
            problem = lost_error(files)  # then what is shown is not all
        except IgnoreListError as error:  # what is known without it is shown all the same
            problem = error
    if found:
        copies = [copy for item in found for copy in item.record.copies]
    else:
        copies = copies_with_presence(catalogue.overview.copies(epns))
    if as_json:
        _print_json(catalogue, copies, wanted)
        return
    if wanted is None:
        show_services(catalogue.services())
        show_status(copies)
        show_states(found, besides)
        if problem is not None:
            raise problem
        return
    if not found and not copies:
        _explain_unseen(settings, catalogue, wanted, f"asynchy --config {file}")
        return
    show_experiment(found, str(file))
    show_status(copies)
    show_attempts(catalogue.history_of(wanted.text))
    show_checks(catalogue.checks_of(wanted.text))


def _explain_unseen(settings: Shared, catalogue: Catalogue, epn: Epn, call: str) -> None:
    """Print what the config and `ignore.yml` have about an EPN without an experiment.

    Raises:
        NothingKnown: neither names it.
    """
    unseen = "no visit was told, and no walk or cycle has seen it"
    project, entry = None, None
    if isinstance(settings, Settings):
        project = settings.epn_cap_map.get(epn.proposal)
        entry = ignore_entries(settings, catalogue, datetime.now(UTC)).get(epn.text)
    if project is None and entry is None:
        raise NothingKnown(
            f"{epn} is unknown: {unseen}",
            hint="check the spelling; `asynchy walk` and `mxsync` find what is at the facility",
        )
    skips = entry is not None and entry.origin in (Origin.PERSON, Origin.ORIGINAL)
    line(f"{epn}: {'skipped' if skips else 'not seen yet'}")
    listed = f"listed in ignore.yml ({entry.origin.value}); " if entry is not None else ""
    line(f"  why: {listed}{unseen}")
    if project is not None:
        line(f"  project: {project}")
    step = "nothing; to have it fetched, take it out of ignore.yml"
    if not skips:
        step = f"it is fetched after its visit; {call} walk looks for it at the facility now"
    line(f"  next step: {step}")


def _print_json(catalogue: Catalogue, copies: Sequence[CopyRecord], epn: Epn | None) -> None:
    last = catalogue.last_attempts([copy.id for copy in copies])
    rows = [_row(copy, last) for copy in copies]
    if epn is not None:
        if not copies:
            raise NothingKnown(
                f"the catalogue knows no copy of {epn}",
                hint="`asynchy status EPN` without --json says why",
            )
        attempts, checks = catalogue.history_of(epn.text), catalogue.checks_of(epn.text)
        for row in rows:
            row["history"] = [asdict(a) for d, a in attempts if d == row["destination"]]
            row["checks"] = [asdict(c) for d, c in checks if d == row["destination"]]
    click.echo(json.dumps(rows, indent=2, default=_plain))


def _row(copy: CopyRecord, last: Mapping[int, Attempt]) -> dict[str, Any]:
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
        "edited": copy.edited,
        "replaced": asdict(copy.replaced) | {"latest": copy.replaced_at},
        "files": copy.files,
        "bytes": copy.bytes,
        "attempts": copy.attempts,
        "last": asdict(attempt) if attempt else None,
        "claim": asdict(copy.claim) if copy.claim else None,
    }


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
