"""`asynchy verify`: copies held against the facility, at any time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.cli import logs
from asynchy.cli.bars import bars
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import at_least, epns_argument, until_stopped
from asynchy.cli.show import show_verified
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.domain.level import Level
from asynchy.domain.stop import Stop
from asynchy.service.board import Board
from asynchy.service.reporter import log_transfers, reporting
from asynchy.service.site import site_of
from asynchy.service.verifying import plan_verification, verify
from asynchy.service.work import Work

_LEVELS = [Level.SIZE.word, Level.SOURCE.word]


@click.command("verify")
@epns_argument
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    default=Level.SOURCE.word,
    show_default=True,
    help="What is proven: size and time of every file, or its bytes, by a digest.",
)
@click.option(
    "--restore",
    is_flag=True,
    help="Bring the facility's files back where people changed them; theirs are kept beside.",
)
@click.option("--again", is_flag=True, help="Compare what was proven before, too.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    callback=at_least(1),
    help="Copies at a time; each is compared over several connections.",
)
@click.pass_obj
@fails_with_words
def verify_command(file: Path, /, **options: Any) -> int:
    """Hold copies against the facility, byte for byte. Without an EPN: all that are complete.

    Stopped, it goes on where it was the next time. What differs is kept aside and fetched again.
    """
    settings = load_shared(file).settings
    logs.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, signals: Signals) -> int:
        return _verify(settings, stop, options) or (signals.exit_code if stop.asked else 0)

    return until_stopped(work)


def _verify(settings: Shared, stop: Stop, options: dict[str, Any]) -> int:
    began = datetime.now(UTC)
    board, threads = Board(), options["threads"]
    site = site_of(settings, stop, board, write=True)
    run = StateMarkers.open(settings.catalogue_path).begin_run() if options["again"] else None
    means = replace(site.means, verify=options["level"], run=run, restore=options["restore"])
    site = replace(site, means=means)
    plan = plan_verification(site, options["epns"], threads)
    with bars(board), reporting([log_transfers(board)]):
        report = Work(site, plan, bring=verify).run(threads)
    show_verified(report, site.catalogue, began)
    return 0 if stop.asked else report.exit_code
