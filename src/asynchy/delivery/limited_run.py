"""A program that is run to deliver a message, within a time limit."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from asynchy.errors import Stopped
from asynchy.model.cancellation import Stop
from asynchy.ssh.subprocess_runner import Line, ProcessResult, run


def run_limited(  # noqa: PLR0913 - as the runner that it calls
    command: Sequence[str],
    *,
    seconds: float,
    stop: Stop,
    stdin: bytes,
    on_stdout: Line = lambda _: None,
    on_stderr: Line = lambda _: None,
    environment: Mapping[str, str] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> ProcessResult:
    """Run a program; `stopped` in the result: it was ended at the time limit.

    It leads a process group of its own, which is ended with it: at the time limit, on a stop, and
    when this process dies. The rest is as for `run`.

    Raises:
        Stopped: a stop was requested meanwhile.
    """
    limit = stop.child()
    timer = threading.Timer(seconds, limit.request)
    timer.daemon = True
    timer.start()
    try:
        ended = run(
            command,
            stop=limit,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            environment=environment or {},
            stdin=stdin,
            inherited=inherited,
        )
    finally:
        timer.cancel()
    if stop.requested and ended.stopped:
        raise Stopped("stopped")
    return ended
