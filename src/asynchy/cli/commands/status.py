"""`asynchy status`: what is at home, what is not, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.completion import known_epns
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss, loss_of
from asynchy.cli.options import named_epn
from asynchy.cli.output.copies import (
    show_attempts,
    show_checks,
    show_events,
    show_services,
    show_status,
)
from asynchy.cli.output.outbox import show_waiting
from asynchy.cli.output.states import show_experiment, show_states
from asynchy.cli.output.status_json import print_json
from asynchy.cli.output.tables import line
from asynchy.config import Settings, Shared, load_shared
from asynchy.errors import AsynchyError, ExitCode, IgnoreListError, StateLost
from asynchy.model.copy_record import CopyState, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, size
from asynchy.model.safety import name_of
from asynchy.repatriation.lost_state import read_state_files
from asynchy.reporting.presence import copies_with_presence
from asynchy.reporting.reports import ignore_entries, notices, states
from asynchy.reporting.unseen import Unseen, explain_unseen


@click.command()
@click.argument("epn", required=False, callback=named_epn, shell_complete=known_epns)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--wide", is_flag=True, help="Show the destination and all details in the table.")
@click.pass_obj
@handle_errors
@explains_loss
def status(file: Path, /, epn: str | None, as_json: bool, wide: bool) -> int:
    """Show what is at home, what is not and why; with an EPN, its whole story."""
    wanted = Epn(epn) if epn is not None else None
    settings = load_shared(file).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    epns = [wanted.text] if wanted else []
    found, besides, problem = _states(settings, catalogue, epns)
    if found:
        copies = [copy for item in found for copy in item.record.copies]
    else:
        known = catalogue.overview
        copies = copies_with_presence(known.copies(epns), known.places_below)
    not_due = {item.experiment for item in found if item.state is not State.DUE}
    unseen = None
    if wanted is not None and not (found or copies or isinstance(problem, StateLost)):
        unseen = _unseen(settings, catalogue, wanted, file)
    if as_json:
        all_known = isinstance(settings, Settings) and problem is None
        print_json(catalogue, found, copies, wanted, str(file), all_known=all_known, unseen=unseen)
        return ExitCode.OK
    running = catalogue.transfers.running()
    if wanted is None:
        show_services(catalogue.services())
        if (pause := catalogue.pauses.current(datetime.now(UTC))) is not None:
            line(f"mxsync is {pause}: it fetches nothing until `asynchy resume`.\n")
        show_status(copies, running, not_due, wide=wide)
        show_states(found, besides)
        show_waiting(catalogue.outbox.waiting())
    elif found or copies:
        call = f"asynchy --config {file}"
        _show_copies(settings, catalogue.overview.records(epns), call)
        show_experiment(found, str(file))
        if copies:
            show_status(copies, running, not_due, wide=True)
        show_attempts(catalogue.history.attempts_of(wanted.text))
        show_checks(catalogue.history.checks_of(wanted.text))
        show_events(catalogue.decisions.events_of(wanted.text))
    else:
        _show_unseen(unseen, _seen(catalogue, wanted))
    if problem is not None and (wanted is None or isinstance(problem, StateLost)):
        raise problem
    return ExitCode.OK


def _states(
    settings: Shared, catalogue: Catalogue, epns: Sequence[str]
) -> tuple[list[ExperimentState], list[str], AsynchyError | None]:
    """States, what people should know besides, and why what is shown is not all."""
    if not isinstance(settings, Settings):  # nobody says which experiments are wanted
        return [], [], None
    now = datetime.now(UTC)
    try:
        files = read_state_files(settings, write=False)
    except IgnoreListError as error:  # what is known without it is shown all the same
        return [], [], error
    found, policy = states(settings, catalogue, files.entries, now, epns)
    return found, notices(settings, catalogue, found, policy), loss_of(settings)


def _seen(catalogue: Catalogue, epn: Epn) -> list[ExperimentRecord]:
    """The experiments of an EPN that are or were at the facility."""
    return [one for one in catalogue.overview.records([epn.text]) if one.seen]


def _show_seen(record: ExperimentRecord) -> None:
    """Print what is at the facility of an experiment that nobody has fetched."""
    line(f"{name_of(record.experiment)}: at the facility, never fetched")
    files = record.amount
    if files is not None:
        line(f"  at the facility: {count(files.files, 'file')}, {size(files.bytes)}")


def _show_copies(settings: Shared, records: Sequence[ExperimentRecord], call: str) -> None:
    """Print the state of each copy of experiments that `asynchy sync` fetches, and what to do.

    If the config names projects, the states of experiments say that.
    """
    if isinstance(settings, Settings):
        return
    for record in records:
        for copy in copies_with_presence(record.copies):
            state = record.state_of(copy, datetime.now(UTC))
            away = copy.was_complete and copy.presence is not Presence.THERE
            line(f"{name_of(record.experiment)}: {'due' if away else state.value}")
            line(f"  place at home: {copy.copy.destination}")
            if away:
                line(f"  why: its folder {copy.presence.value}")
                line(f"  next step: {call} copies list {record.epn}, then move, forget or refetch")
            elif state is not CopyState.COMPLETE:
                line(f"  next step: {call} sync fetches it")
            line("")


def _unseen(settings: Shared, catalogue: Catalogue, epn: Epn, config: Path) -> Unseen | None:
    """What the config and `ignore.yml` have about an EPN; None: it was seen at the facility.

    Raises:
        NothingKnown: neither names it.
    """
    if _seen(catalogue, epn):
        return None
    project, entry = None, None
    if isinstance(settings, Settings):
        project = settings.epn_cap_map.get(epn.proposal)
        entry = ignore_entries(settings, catalogue, datetime.now(UTC)).get(epn.text)
    return explain_unseen(epn, project, entry, str(config))


def _show_unseen(item: Unseen | None, seen: Iterable[ExperimentRecord]) -> None:
    for record in seen:
        _show_seen(record)
    if item is None:
        return
    line(f"{item.epn}: {item.state}")
    line(f"  why: {item.reason}")
    if item.project is not None:
        line(f"  project: {item.project}")
    line(f"  next step: {item.next_step}")
