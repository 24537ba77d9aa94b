"""`asynchy report`: what is at risk at the facility, and what may be deleted there."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.failing import fails_with_words
from asynchy.cli.rows import write_csv, write_json
from asynchy.cli.running import epns_argument
from asynchy.cli.show_report import (
    AT_RISK_COLUMNS,
    RECONCILE_COLUMNS,
    at_risk_row,
    reconcile_row,
    show_at_risk,
    show_reconciled,
)
from asynchy.config import load_shared
from asynchy.domain.level import Level
from asynchy.errors import ExitCode
from asynchy.service.reports import asked_level, reconciled, risks

_format = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
_LEVELS = click.Choice([level.word for level in Level])


@click.group("report")
def report_group() -> None:
    """Tell what is at risk at the facility, and what may be deleted there.

    From the catalogue alone: nobody is asked, nothing is written.
    """


@report_group.command("at-risk")
@_format
@click.option(
    "--within",
    type=click.IntRange(0, 36600),
    metavar="DAYS",
    help="Only what has at most so many days left, or of which that is not known.",
)
@click.option(
    "--level",
    type=_LEVELS,
    help="What must be proven of a copy to be safe  [default: as `verify` in the config]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="What ignore.yml or an original's database calls fetched, too.",
)
@click.pass_obj
@fails_with_words
def at_risk_command(
    config: Path, /, form: str, within: int | None, level: str | None, everything: bool
) -> int:
    """What is at the facility and not, complete and proven, at home; the most urgent first.

    Exit code 1 where there is any.
    """
    settings = load_shared(config).settings
    wanted = Level[level.upper()] if level else asked_level(settings)
    found = risks(settings, wanted, datetime.now(UTC), everything=everything)
    if within is not None:
        found = found.within(within)
    if form == "table":
        show_at_risk(found, Catalogue.peek(settings.catalogue_path).overview.data_age(), within)
    else:
        _write(form, AT_RISK_COLUMNS, map(at_risk_row, found.items))
    return ExitCode.DUE if found.items else ExitCode.OK


@report_group.command("reconcile")
@epns_argument
@_format
@click.option(
    "--level",
    type=_LEVELS,
    help="What must be proven of every file  [default: proof-for-deletion in the config]",
)
@click.pass_obj
@fails_with_words
def reconcile_command(config: Path, /, epns: frozenset[str], form: str, level: str | None) -> None:
    """Both sides of each experiment, and whether the facility's may be deleted, by which proof.

    Without an EPN: all. Of each file it says what was found when it was last proven or audited:
    have copies audited just before a deletion. What asynchy does not bring home (dot files, links,
    special files) is not looked at.
    """
    settings = load_shared(config).settings
    wanted = Level[(level or settings.proof_for_deletion).upper()]
    found = reconciled(settings, wanted, epns, datetime.now(UTC))
    if form == "table":
        show_reconciled(found, wanted, Catalogue.peek(settings.catalogue_path).overview.data_age())
    else:
        _write(form, RECONCILE_COLUMNS, map(reconcile_row, found))


def _write(form: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    (write_json if form == "json" else write_csv)(sys.stdout, columns, rows)
