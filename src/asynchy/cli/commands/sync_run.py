"""What `asynchy sync` does; loaded while ssh connects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asynchy.cli.commands.sync_options import SyncOptions
from asynchy.cli.epn_lists import listed_epns
from asynchy.cli.options import absolute
from asynchy.cli.output.plans import show_plan, show_report
from asynchy.cli.output.progress import transfers_shown
from asynchy.config import Shared
from asynchy.copying.fetch import fetch_copy
from asynchy.engines.options import transfer_options_of
from asynchy.errors import ExitCode, SpreadsheetError
from asynchy.facility.epn_sources import EpnList
from asynchy.model.cancellation import Stop
from asynchy.repatriation.catalogue_selection import SyncRequest
from asynchy.repatriation.executor import Executor, exit_code_for
from asynchy.repatriation.fetch_subprocess import fetch_in_subprocess
from asynchy.repatriation.sync import exit_code_of, plan_sync
from asynchy.reporting.reports import recent_rate
from asynchy.runtime.context import run_context
from asynchy.runtime.portal_clock import require_right_clock
from asynchy.runtime.progress import ProgressBoard
from asynchy.ssh.session import ServerSession


def run(settings: Shared, stop: Stop, session: ServerSession, options: SyncOptions) -> int:
    """Plan, transfer and report; the exit code.

    Raises:
        AsynchyError: as `plan_sync`.
    """
    if not options.dry_run:
        require_right_clock(settings, stop)
    transfer_options = replace(
        transfer_options_of(settings), partial=options.partial, compress=options.compress
    )
    board = ProgressBoard()
    context = run_context(settings, stop, board, write=not options.dry_run, session=session)
    parallel = options.parallel
    context = replace(
        context,
        transfer_options=transfer_options,
        retries=options.retry,
        transfers_here=not parallel,
    )
    listed = _listed(options.listed)
    unread = ExitCode.OK if listed.is_whole else SpreadsheetError.exit_code
    plan = plan_sync(context, _request(options, listed), options.threads)
    if options.dry_run:
        show_plan(plan, recent_rate(context.catalogue, context.clock.now()))
        return exit_code_for(plan, ()) or unread
    apart = (
        fetch_in_subprocess(settings, transfer_options, options.retry) if parallel else fetch_copy
    )
    with transfers_shown(board, context.catalogue):
        report = Executor(context, plan, fetch=apart).run(options.threads)
    show_report(report)
    return 0 if stop.requested else exit_code_of(report) or unread


def _listed(path: Path | None) -> EpnList:
    """What `--list` says; nothing if it was not given.

    Raises:
        SpreadsheetError: the file cannot be read, or names none.
    """
    return EpnList() if path is None else listed_epns(path)


def _request(options: SyncOptions, listed: EpnList) -> SyncRequest:
    return SyncRequest(
        destination=absolute(options.dest),
        layout=options.layout,
        source_prefix=options.src_prefix,
        newest_first=options.order == "DESC",
        limit=options.limit,
        epns=options.epns.union(epn.text for epn in listed.epns),
        since=options.since,
        until=options.until,
    )
