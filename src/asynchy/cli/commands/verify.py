"""`asynchy verify`: copies compared with the facility, at any time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss
from asynchy.cli.options import at_least, epns_argument, until_stopped
from asynchy.cli.output.plans import show_verified
from asynchy.cli.output.progress import transfers_shown
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.model.cancellation import Stop
from asynchy.model.verification import Level
from asynchy.repatriation.executor import Executor
from asynchy.runtime.context import run_context
from asynchy.runtime.portal_clock import require_right_clock
from asynchy.runtime.progress import ProgressBoard
from asynchy.verification.verify import plan_verification, verify


@dataclass(frozen=True)
class VerifyOptions:
    """One field for each option; see `asynchy verify --help`."""

    epns: frozenset[str]
    level: Literal["size", "source"]
    restore: bool
    again: bool
    threads: int


_LEVELS = [Level.SIZE.word, Level.SOURCE.word]


@click.command("verify")
@epns_argument
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    default=Level.SOURCE.word,
    show_default=True,
    help="What to prove: size and time of every file, or its bytes, by a digest.",
)
@click.option(
    "--restore",
    is_flag=True,
    help="Bring back the facility's version of files that were changed at home, which are kept "
    "beside the copy, and set all modes again.",
)
@click.option("--again", is_flag=True, help="Also compare files that were proven before.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    callback=at_least(1),
    help="Copies to verify at a time; each uses several connections.",
)
@click.pass_obj
@handle_errors
@explains_loss
def verify_command(file: Path, /, **given: Any) -> int:
    """Compare copies with the facility byte by byte. Without an EPN: all complete copies.

    Resumes if interrupted. Differing files are moved aside and fetched again.
    """
    options = VerifyOptions(**given)
    settings = load_shared(file).settings
    logging_setup.report_follows()
    logging_setup.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, signals: Signals) -> int:
        return _verify(settings, stop, options) or (signals.exit_code if stop.requested else 0)

    return until_stopped(work)


def _verify(settings: Shared, stop: Stop, options: VerifyOptions) -> int:
    require_right_clock(settings, stop)
    began = datetime.now(UTC)
    board, threads = ProgressBoard(), options.threads
    context = run_context(settings, stop, board, write=True)
    run = StateMarkers.open(settings.catalogue_address).begin_run() if options.again else None
    transfer_options = replace(
        context.transfer_options, verify=options.level, run=run, restore=options.restore
    )
    context = replace(context, transfer_options=transfer_options)
    plan = plan_verification(context, options.epns, threads)
    with transfers_shown(board, context.catalogue):
        report = Executor(context, plan, fetch=verify).run(threads)
    show_verified(report, context.catalogue, began)
    return 0 if stop.requested else report.exit_code
