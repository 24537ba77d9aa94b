"""A site's own command, run for a copy that was completed."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection

from asynchy.config.channels import OnCompleteEntry
from asynchy.errors import DeliveryError, Stopped
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import duration, escaped
from asynchy.ssh.subprocess_runner import ProcessResult, run

_SAID = 1000
"""Characters of stderr that are kept."""


def run_command(
    entry: OnCompleteEntry, message_id: str, body: bytes, secrets: Collection[str], stop: Stop
) -> None:
    """Run the command with the document on its standard input; returns when it ended with 0.

    No shell is between. It leads a process group of its own, which is ended at the time limit, on
    a stop, and when this process dies. Variables of the environment that hold a secret of the
    config are kept from it.

    Raises:
        DeliveryError: it did not end with 0.
        Stopped: a stop was requested meanwhile; it is run again.
    """
    limit = stop.child()
    timer = threading.Timer(entry.time_limit, limit.request)
    timer.daemon = True
    timer.start()
    try:
        ended = run(
            list(entry.command),
            stop=limit,
            on_stdout=lambda _line: None,
            on_stderr=lambda _line: None,
            environment={"ASYNCHY_MESSAGE_ID": message_id},
            stdin=body,
            inherited={name: text for name, text in os.environ.items() if text not in secrets},
        )
    finally:
        timer.cancel()
    if stop.requested and ended.stopped:
        raise Stopped("stopped")
    if ended.code != 0:
        raise _failed(entry, ended)


def _failed(entry: OnCompleteEntry, ended: ProcessResult) -> DeliveryError:
    lines = (line.strip() for line in ended.stderr[-_SAID:].splitlines())
    said = escaped(" | ".join(line for line in lines if line), limit=_SAID)
    if ended.stopped:
        what = f"it was ended after {duration(entry.time_limit)}, its time limit"
    elif ended.code < 0:
        what = f"signal {-ended.code} ended it"
    else:
        what = f"it ended with {ended.code}"
    error = DeliveryError(f"{what}{f': {said}' if said else ''}")
    error.exit_status = None if ended.stopped else ended.code
    return error
