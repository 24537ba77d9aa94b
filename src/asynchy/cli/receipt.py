"""`asynchy receipt`: what a copy is, in a form that other programs can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asynchy.cli import logs
from asynchy.cli.bars import bars
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import named_epn, rate_option, until_stopped
from asynchy.cli.show import show_receipt
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.domain.stop import Stop
from asynchy.service.board import Board
from asynchy.service.receipting import Wish, receipt
from asynchy.service.reporter import log_transfers, reporting
from asynchy.service.site import site_of

_folder = click.Path(path_type=Path, file_okay=False)


@click.command("receipt")
@click.argument("epn", callback=named_epn)
@click.option("--out", metavar="DIR", type=_folder, help="Where it goes.  [default: the copy's]")
@click.option("--copy", metavar="DIR", type=_folder, help="Of which copy, where there are several.")
@click.option("--unread", is_flag=True, help="Trust the digests that are known; read no file.")
@rate_option
@click.pass_obj
@fails_with_words
def receipt_command(file: Path, /, **options: Any) -> int:
    """Write a receipt of a copy: an RO-Crate and a BagIt manifest.

    Every file is read again before, and none is claimed that is not as it was. The facility is not
    asked, and the data are not touched. Where the copy is called `data`, its receipt beside it
    makes a whole bag.
    """
    settings = load_shared(file).settings
    logs.set_up(settings.log_level, settings.log_files.sync)
    wish = Wish(
        options["epn"], options["out"], options["copy"], read=not options["unread"],
        rate=options["rate"],
    )  # fmt: skip

    def work(stop: Stop, _signals: Signals) -> int:
        return _receipt(settings, stop, wish)

    return until_stopped(work)


def _receipt(settings: Shared, stop: Stop, wish: Wish) -> int:
    board = Board()
    site = site_of(settings, stop, board, write=True)
    with bars(board), reporting([log_transfers(board)]):
        kept, made = receipt(site, wish)
    show_receipt(kept, made)
    return 0
