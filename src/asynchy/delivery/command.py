"""A site's own command, run for a copy that was completed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection

from asynchy.config.channels import OnCompleteEntry
from asynchy.delivery.limited_run import run_limited
from asynchy.errors import DeliveryError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import duration, escaped
from asynchy.ssh.subprocess_runner import ProcessResult

_SAID = 1000
"""Bytes of the end of stderr that are kept."""
_SAID_LINES = 40


def run_command(
    entry: OnCompleteEntry, message_id: str, body: bytes, secrets: Collection[str], stop: Stop
) -> None:
    """Run the command with the document on its standard input; returns when it ended with 0.

    No shell is between. What it leaves in the background is ended with it. Variables of the
    environment that hold a secret of the config are kept from it.

    Raises:
        DeliveryError: it did not end with 0.
        Stopped: a stop was requested meanwhile; it is run again.
    """
    said: deque[bytes] = deque(maxlen=_SAID_LINES)
    ended = run_limited(
        list(entry.command),
        seconds=entry.time_limit,
        stop=stop,
        stdin=body,
        on_stderr=lambda line: said.append(line[-_SAID:]),
        environment={"ASYNCHY_MESSAGE_ID": message_id},
        inherited={name: text for name, text in os.environ.items() if text not in secrets},
    )
    if ended.code != 0:
        raise _failed(entry, ended, b"\n".join(said)[-_SAID:])


def _failed(entry: OnCompleteEntry, ended: ProcessResult, stderr: bytes) -> DeliveryError:
    lines = (line.strip() for line in stderr.splitlines())
    said = escaped(b" | ".join(line for line in lines if line), limit=_SAID)
    if ended.stopped:
        what = f"it was ended after {duration(entry.time_limit)}, its time limit"
    elif ended.code < 0:
        what = f"signal {-ended.code} ended it"
    else:
        what = f"it ended with {ended.code}"
    error = DeliveryError(f"{what}{f': {said}' if said else ''}")
    error.exit_status = None if ended.stopped else ended.code
    return error
