"""Fetches an experiment in a process of its own, whose death affects only this experiment.

The process gets its `FetchTask` on standard input and reports on standard output, a line an event.
Both are pickled: they pass between two processes of the same program. A line that has no end mark
was cut off, because the process died while it wrote it.
"""

from __future__ import annotations

import base64
import logging
import pickle  # between two processes of ours
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from asynchy.config import Shared
from asynchy.copying.fetch import Outcome, fetch_copy
from asynchy.errors import AsynchyError
from asynchy.model.attempt import Verdict
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.file_times import tolerate
from asynchy.model.plan import PlannedTransfer
from asynchy.model.transfer_options import TransferOptions
from asynchy.runtime.context import RunContext, run_context
from asynchy.runtime.progress import ProgressBoard
from asynchy.ssh import subprocess_runner
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerFacts, ServerSession

_COMMAND = (sys.executable, "-c", "from asynchy.repatriation.fetch_subprocess import main; main()")
_END = b"."
_STOP_TIMEOUT = 15.0  # seconds
"""Seconds that the process has to end its rsync and to record the attempt."""


@dataclass(frozen=True)
class FetchTask:
    """The task of the process."""

    settings: Shared
    transfer_options: TransferOptions
    retries: int
    level: int
    """Of the log records that it sends."""
    transfer: PlannedTransfer
    unsure: str | None
    server: Server
    facts: ServerFacts
    """The facts that the listing has found out about the server."""


def fetch_in_subprocess(
    settings: Shared, transfer_options: TransferOptions, retries: int
) -> Callable[[RunContext, PlannedTransfer, str | None], Outcome]:
    """A function like `fetch_copy` that runs in a process of its own.

    Raises:
        AsynchyError: as raised in the process.
    """

    def run(context: RunContext, transfer: PlannedTransfer, unsure: str | None) -> Outcome:
        level = logging.getLogger("asynchy").getEffectiveLevel()
        remote_and_facts = context.remote, context.session.facts
        task = FetchTask(
            settings, transfer_options, retries, level, transfer, unsure, *remote_and_facts
        )
        results: list[Outcome | AsynchyError] = []

        def on_line(line: bytes) -> None:
            if not line.endswith(_END):
                return
            name, *details = pickle.loads(base64.b64decode(line))  # noqa: S301 - our own
            if name == "log":
                logger, *record = details
                logging.getLogger(logger).log(*record)
            elif name == "result":
                results.extend(details)
            else:
                getattr(context.board, name)(*details)

        result_ = subprocess_runner.run(
            _COMMAND,
            stop=context.stop,
            on_stdout=on_line,
            on_stderr=lambda line: None,
            environment={},
            stdin=pickle.dumps(task),
            grace=_STOP_TIMEOUT,
            timeout=context.remote.timeout,
        )
        context.board.end(transfer.copy)
        if not results:
            return _died(transfer.copy, result_)
        if isinstance(results[0], AsynchyError):
            raise results[0]
        return results[0]

    return run


def _died(copy: Copy, result: subprocess_runner.ProcessResult) -> Outcome:
    if result.stopped:
        return Outcome(copy, Verdict.STOPPED, "stopped; fetched data is kept")
    if result.hung_process:
        reason = f"{result.hung_process} stood still for {result.waited:.0f} s, and was ended"
        return Outcome(copy, Verdict.FAILED, reason)
    logging.getLogger(__name__).error("%s: its process died: %s", copy.epn, result.stderr)
    return Outcome(copy, Verdict.FAILED, f"its process died (exit code {result.code})")


def main() -> None:
    """Do the task on standard input."""
    task: FetchTask = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.request())
    logger = logging.getLogger("asynchy")
    logger.addHandler(_SendingHandler())
    logger.setLevel(task.level)
    result: Outcome | AsynchyError
    try:
        result = _brought(task, stop)
    except AsynchyError as error:
        result = error
    _send("result", result)


def _brought(task: FetchTask, stop: Stop) -> Outcome:
    tolerate(task.settings.time_tolerance)
    session = ServerSession(task.server, task.facts)
    context = run_context(task.settings, stop, _SendingBoard(), write=True, session=session)
    context = replace(context, transfer_options=task.transfer_options, retries=task.retries)
    return fetch_copy(context, task.transfer, task.unsure)


def _send(*event: Any) -> None:
    sys.stdout.buffer.write(base64.b64encode(pickle.dumps(event)) + _END + b"\n")
    sys.stdout.buffer.flush()


class _SendingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += f" | {logging.Formatter().formatException(record.exc_info)}"
        _send("log", record.name, record.levelno, "%s", message)


class _SendingBoard(ProgressBoard):
    def begin(self, copy: Copy, listing_diff: ListingDiff) -> None:
        _send("begin", copy, listing_diff)

    def begin_reading(self, copy: Copy, files: int, total: int, doing: str) -> None:
        _send("begin_reading", copy, files, total, doing)

    def arrived(self, copy: Copy, done: int, files: int) -> None:
        _send("arrived", copy, done, files)

    def end(self, copy: Copy) -> None:
        _send("end", copy)
