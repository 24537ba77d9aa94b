"""What `asynchy sync` does; loaded while ssh connects."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from asynchy.cli.bars import bars
from asynchy.cli.show import show_plan, show_report
from asynchy.config import Shared
from asynchy.domain.stop import Stop
from asynchy.plan.backlog import Wish
from asynchy.service.apart import bring_apart
from asynchy.service.board import Board
from asynchy.service.bring import bring
from asynchy.service.means import means_of
from asynchy.service.reporter import log_transfers, reporting
from asynchy.service.site import site_of
from asynchy.service.sync import exit_code_of, plan_sync
from asynchy.service.work import Work, exit_code_for


def run(settings: Shared, stop: Stop, options: dict[str, Any]) -> int:
    """Plan, transfer and report; the exit code.

    Raises:
        AsynchyError: as `plan_sync`.
    """
    means = replace(means_of(settings), partial=options["partial"], compress=options["compress"])
    board = Board()
    site = site_of(settings, stop, board, write=not options["dry_run"])
    parallel = options["parallel"]
    site = replace(site, means=means, retries=options["retry"], transfers_here=not parallel)
    plan = plan_sync(site, _wish(options), options["threads"])
    if options["dry_run"]:
        show_plan(plan)
        return exit_code_for(plan, ())
    apart = bring_apart(settings, means, options["retry"]) if parallel else bring
    with bars(board), reporting([log_transfers(board)]):
        report = Work(site, plan, bring=apart).run(options["threads"])
    show_report(report)
    return 0 if stop.asked else exit_code_of(report)


def _wish(options: dict[str, Any]) -> Wish:
    return Wish(
        destination=Path(os.path.normpath(Path(options["dest"]).expanduser().absolute())),
        layout=options["layout"],
        source_prefix=options["src_prefix"],
        newest_first=options["order"] == "DESC",
        limit=options["limit"],
        epns=options["epns"],
        since=options["since"],
        until=options["until"],
    )
