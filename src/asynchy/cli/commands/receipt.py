"""`asynchy receipt`: what a copy is, in a form that other programs can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss
from asynchy.cli.options import epn_argument, rate_option, until_stopped
from asynchy.cli.output.plans import show_receipt
from asynchy.cli.output.progress import bars
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.model.cancellation import Stop
from asynchy.runtime.context import run_context
from asynchy.runtime.periodic import log_transfers, reporting
from asynchy.runtime.progress import ProgressBoard
from asynchy.verification.receipt import ReceiptRequest, receipt

_folder = click.Path(path_type=Path, file_okay=False)


@click.command("receipt")
@epn_argument
@click.option(
    "--out", metavar="DIR", type=_folder, help="Folder of the receipt.  [default: beside the copy]"
)
@click.option("--copy", metavar="DIR", type=_folder, help="Which copy, if the EPN has several.")
@click.option("--unread", is_flag=True, help="Use the known digests; read no file.")
@rate_option
@click.pass_obj
@handle_errors
@explains_loss
def receipt_command(file: Path, /, **options: Any) -> int:
    """Write a receipt of a copy: an RO-Crate and a BagIt manifest.

    Re-reads every file first; refuses a receipt if any has changed. Does not contact the facility
    or change the data. If the folder of the copy is called `data`, a receipt beside it makes a
    complete bag.
    """
    settings = load_shared(file).settings
    logging_setup.set_up(settings.log_level, settings.log_files.sync)
    wish = ReceiptRequest(
        options["epn"], options["out"], options["copy"], read=not options["unread"],
        rate=options["rate"],
    )  # fmt: skip

    def work(stop: Stop, _signals: Signals) -> int:
        return _receipt(settings, stop, wish)

    return until_stopped(work)


def _receipt(settings: Shared, stop: Stop, wish: ReceiptRequest) -> int:
    board = ProgressBoard()
    context = run_context(settings, stop, board, write=True)
    with bars(board), reporting([log_transfers(board)]):
        kept, made = receipt(context, wish)
    show_receipt(kept, made)
    return 0
