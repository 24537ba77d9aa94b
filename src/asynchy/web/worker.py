"""What the processes beside the web server do: derive states, make a receipt, add up files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from asynchy.errors import AsynchyError
from asynchy.model.formatting import escaped
from asynchy.ssh.fork_server import to_parent
from asynchy.web.file_totals import add_up_apart
from asynchy.web.receipt_file import write_receipt_file
from asynchy.web.refresh import refresh

WORK: dict[str, Callable[..., Any]] = {
    "states": refresh,
    "receipt": write_receipt_file,
    "files": add_up_apart,
}


def main(descriptor: int) -> None:
    """Do the work that the parent names; send what it returns, or why it was not done."""
    logging.disable(logging.CRITICAL)  # what is wrong is sent, and shown on the pages
    with to_parent(descriptor) as pipe:
        name, arguments = pipe.recv()
        try:
            pipe.send((True, WORK[name](*arguments)))
        except AsynchyError as error:
            pipe.send((False, error.message, error.hint or ""))
        except Exception as error:  # noqa: BLE001 - shown on the pages
            pipe.send((False, f"asynchy did not expect this: {escaped(repr(error))}", ""))
