"""`asynchy audit`: copies read again at home, without the facility."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss
from asynchy.cli.options import epns_argument, rate_option, until_stopped
from asynchy.cli.output.plans import show_audited
from asynchy.cli.output.progress import transfers_shown
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.errors import AsynchyError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.runtime.context import run_context
from asynchy.runtime.progress import ProgressBoard
from asynchy.verification.audit import AuditRequest, AuditResult, audit, exit_code_of
from asynchy.verification.verify import known_copies

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%?")


class _Percent(click.ParamType[float]):
    """A share, such as 1% or 0.5."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = _PERCENT.fullmatch(str(value).strip())
        found = float(match[1]) if match else 0.0
        if not 0.001 <= found <= 100:
            self.fail(
                f"found {escaped(str(value))!r}; accepted is 1%, or another from 0.001% to 100%",
                param, ctx,
            )  # fmt: skip
        return found


@click.command("audit")
@epns_argument
@click.option(
    "--sample",
    type=_Percent(),
    default="100%",
    show_default=True,
    help="Share of files to check; successive audits check different files until all are done.",
)
@rate_option
@click.pass_obj
@handle_errors
@explains_loss
def audit_command(file: Path, /, **options: Any) -> int:
    """Re-read local copies; report changed, missing and unexpected files.

    Does not contact the facility. Without an EPN: all copies.
    """
    settings = load_shared(file).settings
    logging_setup.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, _signals: Signals) -> int:
        wish = AuditRequest(options["epns"], options["sample"], options["rate"])
        return _audit(settings, stop, wish)

    return until_stopped(work)


def _audit(settings: Shared, stop: Stop, wish: AuditRequest) -> int:
    board = ProgressBoard()
    context = run_context(settings, stop, board, write=True)
    kept = known_copies(context, wish.epns)
    results: list[AuditResult] = []
    try:
        with transfers_shown(board, context.catalogue):
            results.extend(audit(context, kept, wish))
    except AsynchyError:  # a stop, too: what was audited before it is shown
        if results:
            show_audited(results)
        raise
    show_audited(results)
    return exit_code_of(results)
