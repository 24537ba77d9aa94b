"""`asynchy audit`: copies read again at home, without the facility."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from asynchy.cli import logs
from asynchy.cli.bars import bars
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import epns_argument, rate_option, until_stopped
from asynchy.cli.show import show_audited
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import AsynchyError
from asynchy.service.audit import Audited, Wish, audit, exit_code_of
from asynchy.service.board import Board
from asynchy.service.reporter import log_transfers, reporting
from asynchy.service.site import site_of
from asynchy.service.verifying import known_copies

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
                f"found {shown(str(value))!r}; accepted is 1%, or another from 0.001% to 100%",
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
    help="How much of the files is read; every audit takes others, until all had their turn.",
)
@rate_option
@click.pass_obj
@fails_with_words
def audit_command(file: Path, /, **options: Any) -> int:
    """Read copies again at home, and find what has changed, is missing or is too many.

    The facility is not asked. Without an EPN: all copies.
    """
    settings = load_shared(file).settings
    logs.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, _signals: Signals) -> int:
        wish = Wish(options["epns"], options["sample"], options["rate"])
        return _audit(settings, stop, wish)

    return until_stopped(work)


def _audit(settings: Shared, stop: Stop, wish: Wish) -> int:
    board = Board()
    site = site_of(settings, stop, board, write=True)
    kept = known_copies(site, wish.epns)
    results: list[Audited] = []
    try:
        with bars(board), reporting([log_transfers(board)]):
            results.extend(audit(site, kept, wish))
    except AsynchyError:  # a stop, too: what was audited before it is shown
        if results:
            show_audited(results)
        raise
    show_audited(results)
    return exit_code_of(results)
