"""`asynchy report`: what is at risk at the facility, what may be deleted there, what was done."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.commands.report_history import (
    activity_command,
    forecast_command,
    usage_command,
)
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss
from asynchy.cli.options import epns_argument
from asynchy.cli.output.records import format_option, write_rows
from asynchy.cli.output.reports import (
    AT_RISK_COLUMNS,
    RECONCILE_COLUMNS,
    at_risk_row,
    lost_row,
    reconcile_row,
    show_at_risk,
    show_reconciled,
)
from asynchy.config import load_shared
from asynchy.errors import ExitCode
from asynchy.model.verification import Level
from asynchy.reporting.reports import asked_level, reconciled, risks

_LEVELS = click.Choice([level.word for level in Level])


@click.group("report")
def report_group() -> None:
    """Report what was done, what is to come, what is at risk, and what can be deleted there.

    Uses the catalogue only: contacts no server, writes nothing.
    """


@report_group.command("at-risk")
@format_option
@click.option(
    "--within",
    type=click.IntRange(0, 36600),
    metavar="DAYS",
    help="Only experiments with at most DAYS left, or with an unknown deadline.",
)
@click.option(
    "--level",
    type=_LEVELS,
    help="Level of proof that a safe copy needs  [default: as `verify` in the config]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also list experiments marked as fetched in ignore.yml or a legacy database.",
)
@click.pass_obj
@handle_errors
@explains_loss
def at_risk_command(
    config: Path, /, form: str, within: int | None, level: str | None, everything: bool
) -> int:
    """List experiments at the facility without a complete, verified local copy, most urgent first.

    Also names what is gone from the facility and not complete at home. Exit code 1 if there is
    any of both.
    """
    settings = load_shared(config).settings
    wanted = Level[level.upper()] if level else asked_level(settings)
    found = risks(settings, wanted, datetime.now(UTC), everything=everything)
    if within is not None:
        found = found.within(within)
    if form == "table":
        show_at_risk(
            found, Catalogue.open_readonly(settings.catalogue_address).overview.data_age(), within
        )
    else:
        rows = (*map(at_risk_row, found.items), *map(lost_row, found.lost))
        write_rows(form, AT_RISK_COLUMNS, rows)
    return ExitCode.INCOMPLETE if found.items or found.lost else ExitCode.OK


@report_group.command("reconcile")
@epns_argument
@format_option
@click.option(
    "--level",
    type=_LEVELS,
    help="Level of proof that every file needs  [default: proof-for-deletion in the config]",
)
@click.pass_obj
@handle_errors
@explains_loss
def reconcile_command(config: Path, /, epns: frozenset[str], form: str, level: str | None) -> None:
    """Compare facility and local copy; say whether the facility's files can be deleted, and why.

    Without an EPN: all experiments. Nothing is read again: the evidence is that of the last
    verification and audit, so audit copies just before a deletion. The answer is no if dot files,
    links or special files were left out, unless the config has `accept-left-out: true`.
    """
    settings = load_shared(config).settings
    wanted = Level[(level or settings.proof_for_deletion).upper()]
    found = reconciled(settings, wanted, epns, datetime.now(UTC))
    if form == "table":
        show_reconciled(
            found, wanted, Catalogue.open_readonly(settings.catalogue_address).overview.data_age()
        )
    else:
        write_rows(form, RECONCILE_COLUMNS, map(reconcile_row, found))


report_group.add_command(activity_command)
report_group.add_command(forecast_command)
report_group.add_command(usage_command)
