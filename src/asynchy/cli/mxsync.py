"""`mxsync`: bring home what was measured and has ended."""

from __future__ import annotations

import faulthandler
import logging
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli import logs
from asynchy.cli.bars import bars
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import config_option, quiet_option, until_stopped
from asynchy.cli.show import show_plan, show_report
from asynchy.cli.signals import Signals, on_hangup
from asynchy.config import Settings, load
from asynchy.domain.stop import Stop
from asynchy.service.alone import alone
from asynchy.service.board import Board
from asynchy.service.cycle import run_cycle
from asynchy.service.cycle_preparation import prepare_cycle, require_state
from asynchy.service.cycle_site import cycle_site_of
from asynchy.service.daemon import Config, Daemon
from asynchy.service.lost_state import lost_error, read_state_files, warn_of_entries
from asynchy.service.places_at_home import data_at_home
from asynchy.service.planning import make_plan
from asynchy.service.reporter import Every, log_transfers, notify, reporting, tell_systemd
from asynchy.service.reports import destination_rules
from asynchy.service.work import exit_code_for

log = logging.getLogger(__name__)

SERVICE = "mxsync"
_TELL_EVERY = 5.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.option("--execute", is_flag=True, help="Transfer; without it, only the plan is shown.")
@click.option("--once", is_flag=True, help="With --execute: run one cycle and exit.")
@click.option(
    "--new-state",
    is_flag=True,
    help="With --execute: go on although ignore.yml or the catalogue is lost.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    expose_value=False,
    callback=lambda _context, _option, value: logs.choose_format(value),
    help="How log lines are written.",
)
@quiet_option
@click.version_option(package_name="asynchy")
@fails_with_words
def mxsync(config: Path, execute: bool, once: bool, new_state: bool, quiet: bool) -> int:
    """Bring experiments home from the Australian Synchrotron.

    Asks the portal which visits have ended, finds out which of their experiments are not at home
    yet, and fetches them. Without --execute it shows the plan and changes nothing;
    with it, it runs as a service, a cycle every sync-frequency-hours.
    """
    if once and not execute:
        raise click.UsageError("--once goes with --execute")
    if new_state and not execute:
        raise click.UsageError("--new-state goes with --execute")
    if quiet:
        logs.be_quiet()
    settings = _read(config)
    board = Board()

    def work(stop: Stop, signals: Signals) -> int:
        if execute and not once:
            _serve(config, settings, stop, board, new_state=new_state)
            return signals.exit_code if stop.at_once else 0
        if execute:
            code = _once(settings, stop, board, new_state=new_state, quiet=quiet)
        else:
            code = _dry_run(settings, stop, board, quiet=quiet)
        return code or (signals.exit_code if stop.asked else 0)

    return until_stopped(work, hangup=once or not execute)


def _read(path: Path) -> Settings:
    """The settings in the file, its warnings logged, its log files in use."""
    loaded = load(path)
    logs.set_up(loaded.settings.log_level, loaded.settings.log_files.sync)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings


def _dry_run(settings: Settings, stop: Stop, board: Board, *, quiet: bool) -> int:
    files = read_state_files(settings, write=False)
    warn_of_entries(files)
    plan = make_plan(cycle_site_of(settings, stop, board, write=False), files.entries)
    code = exit_code_for(plan, ())
    if code or not quiet:
        show_plan(plan)
    lost = lost_error(files, data_at_home(destination_rules(settings)))
    if lost is not None:  # the plan is not what it would be with them
        raise lost
    return code


def _once(settings: Settings, stop: Stop, board: Board, *, new_state: bool, quiet: bool) -> int:
    site, plan = prepare_cycle(settings, stop, board, new_state=new_state)
    with bars(board), reporting([log_transfers(board)]):
        report = run_cycle(site, plan)
    if report.exit_code or not quiet:
        show_report(report)
    return 0 if stop.asked else report.exit_code


def _serve(path: Path, settings: Settings, stop: Stop, board: Board, *, new_state: bool) -> None:
    if not new_state:
        require_state(settings)  # before anything is made in a folder that is not mounted
    with alone(settings.catalogue_path, "service"):
        catalogue = Catalogue.open(settings.catalogue_path)
        daemon = Daemon(Config(path, _read, settings), stop, board, new_state=new_state)
        on_hangup(daemon.wake)
        since = datetime.now(UTC)

        def tell(doing: str | None = None) -> None:
            catalogue.tell(
                SERVICE,
                since=since,
                doing=doing or board.line(),
                next_look=board.next_look,
                trouble=daemon.trouble,
            )

        faulthandler.enable()  # the watchdog's SIGABRT tells in the journal where it hangs
        notify("READY=1")
        log.info("mxsync runs as a service; config %s", path)
        actions = [log_transfers(board), tell_systemd(board), Every(_TELL_EVERY, tell)]
        tell()
        with bars(board), reporting(actions):
            daemon.run()
        notify("STOPPING=1")
        tell("stopped")
        log.info("mxsync has stopped")
