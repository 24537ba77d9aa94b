"""An experiment brought home by a process of its own, whose death costs this experiment alone.

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
    """What the process is to do."""

    settings: Shared
    transfer_options: TransferOptions
    retries: int
    level: int
    """Of the log lines that it tells."""
    transfer: PlannedTransfer
    unsure: str | None
    server: Server
    facts: ServerFacts
    """What the listing before found out."""


def fetch_in_subprocess(
    settings: Shared, transfer_options: TransferOptions, retries: int
) -> Callable[[RunContext, PlannedTransfer, str | None], Outcome]:
    """What `fetch_copy` does, in a process of its own.

    Raises:
        AsynchyError: whatever the process raised.
    """

    def run(context: RunContext, transfer: PlannedTransfer, unsure: str | None) -> Outcome:
        level = logging.getLogger("asynchy").getEffectiveLevel()
        known = context.remote, context.session.facts
        task = FetchTask(settings, transfer_options, retries, level, transfer, unsure, *known)
        results: list[Outcome | AsynchyError] = []

        def hear(line: bytes) -> None:
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

        ended = subprocess_runner.run(
            _COMMAND,
            stop=context.stop,
            on_stdout=hear,
            on_stderr=lambda line: None,
            environment={},
            stdin=pickle.dumps(task),
            grace=_STOP_TIMEOUT,
            timeout=context.remote.timeout,
        )
        context.board.end(transfer.copy)
        if not results:
            return _died(transfer.copy, ended)
        if isinstance(results[0], AsynchyError):
            raise results[0]
        return results[0]

    return run


def _died(copy: Copy, ended: subprocess_runner.ProcessResult) -> Outcome:
    if ended.stopped:
        return Outcome(copy, Verdict.STOPPED, "stopped; what was fetched is kept")
    if ended.hung_process:
        reason = f"{ended.hung_process} stood still for {ended.waited:.0f} s, and was ended"
        return Outcome(copy, Verdict.FAILED, reason)
    logging.getLogger(__name__).error("%s: its process died: %s", copy.epn, ended.stderr)
    return Outcome(copy, Verdict.FAILED, f"its process died (exit code {ended.code})")


def main() -> None:
    """Do the task on standard input."""
    task: FetchTask = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.request())
    logger = logging.getLogger("asynchy")
    logger.addHandler(_TellingHandler())
    logger.setLevel(task.level)
    result: Outcome | AsynchyError
    try:
        result = _brought(task, stop)
    except AsynchyError as error:
        result = error
    _tell("result", result)


def _brought(task: FetchTask, stop: Stop) -> Outcome:
    tolerate(task.settings.time_tolerance)
    session = ServerSession(task.server, task.facts)
    context = run_context(task.settings, stop, _TellingBoard(), write=True, session=session)
    context = replace(context, transfer_options=task.transfer_options, retries=task.retries)
    return fetch_copy(context, task.transfer, task.unsure)


def _tell(*event: Any) -> None:
    sys.stdout.buffer.write(base64.b64encode(pickle.dumps(event)) + _END + b"\n")
    sys.stdout.buffer.flush()


class _TellingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += f" | {logging.Formatter().formatException(record.exc_info)}"
        _tell("log", record.name, record.levelno, "%s", message)


class _TellingBoard(ProgressBoard):
    def begin(self, copy: Copy, listing_diff: ListingDiff) -> None:
        _tell("begin", copy, listing_diff)

    def look(self, copy: Copy, files: int, total: int, doing: str) -> None:
        _tell("look", copy, files, total, doing)

    def arrived(self, copy: Copy, done: int, files: int) -> None:
        _tell("arrived", copy, done, files)

    def end(self, copy: Copy) -> None:
        _tell("end", copy)
