"""`mxsync`: bring home what was measured and has ended."""

from __future__ import annotations

import faulthandler
import logging
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import config_option, quiet_option, until_stopped
from asynchy.cli.output.outbox import show_undelivered
from asynchy.cli.output.plans import show_plan, show_report
from asynchy.cli.output.progress import bars, transfers_shown
from asynchy.cli.signals import Signals, on_hangup
from asynchy.config import Settings, load
from asynchy.delivery.background import deliver_all, delivering
from asynchy.delivery.deliver import Delivery
from asynchy.errors import ExitCode
from asynchy.model.cancellation import Stop
from asynchy.repatriation.cycle import run_cycle
from asynchy.repatriation.cycle_planner import make_plan
from asynchy.repatriation.cycle_preparation import prepare_cycle, read_state, require_state
from asynchy.repatriation.daemon import Daemon, ServiceConfig
from asynchy.repatriation.executor import exit_code_for
from asynchy.repatriation.home_places import data_at_home
from asynchy.repatriation.lost_state import lost_error, read_state_files, warn_of_entries
from asynchy.reporting.reports import destination_rules, recent_rate
from asynchy.runtime.cycle_context import cycle_context
from asynchy.runtime.instance_lock import instance_lock
from asynchy.runtime.periodic import PeriodicTask, log_transfers, notify, notify_systemd, reporting
from asynchy.runtime.progress import ProgressBoard
from asynchy.runtime.progress_recorder import ProgressRecorder

log = logging.getLogger(__name__)

SERVICE = "mxsync"
_TELL_EVERY = 5.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.option("--execute", is_flag=True, help="Transfer; without it, only show the plan.")
@click.option("--once", is_flag=True, help="With --execute: run one cycle and exit.")
@click.option(
    "--new-state",
    is_flag=True,
    help="With --execute: continue although ignore.yml or the catalogue is lost.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    expose_value=False,
    callback=lambda _context, _option, value: logging_setup.choose_format(value),
    help="Format of log lines.",
)
@quiet_option
@click.version_option(package_name="asynchy")
@handle_errors
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
        logging_setup.be_quiet()
    if once or not execute:
        logging_setup.report_follows()
    settings = _read(config)
    board = ProgressBoard()

    def work(stop: Stop, signals: Signals) -> int:
        if execute and not once:
            _serve(config, settings, stop, board, new_state=new_state)
            return signals.exit_code if stop.forced else 0
        if execute:
            code = _once(settings, stop, board, new_state=new_state, quiet=quiet)
        else:
            code = _dry_run(settings, stop, board, quiet=quiet)
        return code or (signals.exit_code if stop.requested else 0)

    return until_stopped(work, hangup=once or not execute)


def _read(path: Path) -> Settings:
    """The settings in the file, its warnings logged, its log files in use."""
    loaded = load(path)
    logging_setup.set_up(loaded.settings.log_level, loaded.settings.log_files.sync)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings


def _dry_run(settings: Settings, stop: Stop, board: ProgressBoard, *, quiet: bool) -> int:
    files = read_state_files(settings, write=False)
    warn_of_entries(files)
    context = cycle_context(settings, stop, board, write=False)
    plan = make_plan(context, files.entries)
    code = exit_code_for(plan, ())
    if code or not quiet:
        show_plan(plan, recent_rate(context.catalogue, datetime.now(UTC)))
    lost = lost_error(files, data_at_home(destination_rules(settings)))
    if lost is not None:  # the plan is not what it would be with them
        raise lost
    return code


def _once(
    settings: Settings, stop: Stop, board: ProgressBoard, *, new_state: bool, quiet: bool
) -> int:
    files = read_state(settings, new_state=new_state)
    pause = Catalogue.open_readonly(settings.catalogue_address).pauses.current(datetime.now(UTC))
    if pause is not None:
        raise pause.as_error()
    context, plan = prepare_cycle(settings, stop, board, files)
    work = Delivery(settings, context.catalogue, stop)
    with transfers_shown(board, context.catalogue), delivering(lambda: work):
        report = run_cycle(context, plan)
    if report.exit_code or not quiet:
        show_report(report)
    if stop.requested:
        return 0
    failed = deliver_all(work)
    show_undelivered(failed)
    return report.exit_code or (ExitCode.MAIL_FAILED if failed else ExitCode.OK)


def _serve(
    path: Path, settings: Settings, stop: Stop, board: ProgressBoard, *, new_state: bool
) -> None:
    if not new_state:
        require_state(settings)  # before anything is made in a folder that is not mounted
    with instance_lock(settings.catalogue_address, "service"):
        catalogue = Catalogue.open(settings.catalogue_address)
        service = ServiceConfig(path, _read, settings)
        daemon = Daemon(
            service,
            stop,
            board,
            lambda: catalogue.pauses.current(datetime.now(UTC)),
            new_state=new_state,
        )
        on_hangup(daemon.wake)
        since = datetime.now(UTC)

        def delivery() -> Delivery:
            return Delivery(service.settings, catalogue, stop)

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
        actions = [log_transfers(board), notify_systemd(board), PeriodicTask(_TELL_EVERY, tell)]
        actions.append(PeriodicTask(_TELL_EVERY, daemon.check_pause))
        recorder = ProgressRecorder(board, catalogue)
        actions.append(recorder.task())
        tell()
        with recorder.running(), bars(board), reporting(actions), delivering(delivery):
            daemon.run()
        notify("STOPPING=1")
        tell("stopped")
        log.info("mxsync has stopped")
