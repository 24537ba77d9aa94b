"""`mxsync`: bring home what was measured and has ended."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from asynchy.cli import logs
from asynchy.cli.failing import fails_with_words, say
from asynchy.cli.show import show_plan, show_report
from asynchy.cli.signals import Signals
from asynchy.config import load
from asynchy.domain.stop import Stop
from asynchy.errors import AsynchyError, Stopped
from asynchy.service.cycle import Cycle, exit_code_for
from asynchy.service.planning import make_plan
from asynchy.service.site import Site

log = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="config.yml",
    show_default=True,
    help="The config file.",
)
@click.option("--execute", is_flag=True, help="Transfer; without it, only the plan is shown.")
@click.option("--once", is_flag=True, help="With --execute: run one cycle and exit.")
@click.version_option(package_name="asynchy")
@fails_with_words
def mxsync(config: Path, execute: bool, once: bool) -> int:
    """Bring experiments home from the Australian Synchrotron.

    Asks the portal which visits have ended, finds out which of their experiments are not at home
    yet, and fetches them with rsync. Without --execute it shows the plan and changes nothing.
    """
    if once and not execute:
        raise click.UsageError("--once goes with --execute")
    if execute and not once:
        raise click.UsageError("--execute needs --once as long as there is no service")
    loaded = load(config)
    logs.set_up(loaded.settings.log_level, loaded.settings.log_files.sync)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    stop = Stop()
    signals = Signals(stop)
    try:
        site = Site.of(loaded.settings, stop, write=execute)
        plan = make_plan(site)
        if not execute:
            show_plan(plan)
            return exit_code_for(plan, ())
        report = Cycle(site, plan).run()
    except Stopped as error:
        say(error)
        return signals.exit_code
    except AsynchyError as error:
        log.error("%s", error)
        raise
    show_report(report)
    return signals.exit_code if stop.asked else report.exit_code
