"""An experiment brought home by a process of its own, whose death costs this experiment alone.

The process gets its `Task` on standard input and tells what happens on standard output, a line an
event. Both are pickled: they pass between two processes of the same program. A line that has no
end mark was cut off, because the process died while it wrote it.
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
from asynchy.domain.attempt import Verdict
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.stop import Stop
from asynchy.errors import AsynchyError
from asynchy.facility.listing import offers_sftp, remember_no_sftp
from asynchy.plan.engine import Means
from asynchy.plan.outcome import Transfer
from asynchy.service.board import Board
from asynchy.service.bring import Outcome, bring
from asynchy.service.site import Site, site_of
from asynchy.ssh import child
from asynchy.ssh.sftp import kept

_COMMAND = (sys.executable, "-c", "from asynchy.service.apart import main; main()")
_END = b"."
_GRACE = 15.0
"""Seconds that the process has to end its rsync and to record the attempt."""


@dataclass(frozen=True)
class Task:
    """What the process is to do."""

    settings: Shared
    means: Means
    retries: int
    level: int
    """Of the log lines that it tells."""
    transfer: Transfer
    unsure: str | None
    offers_sftp: bool
    """Whether the server does, as the listing before found out."""
    round_trip: float | None
    """Seconds, likewise."""


def bring_apart(
    settings: Shared, means: Means, retries: int
) -> Callable[[Site, Transfer, str | None], Outcome]:
    """What `bring` does, in a process of its own.

    Raises:
        AsynchyError: whatever the process raised.
    """

    def run(site: Site, transfer: Transfer, unsure: str | None) -> Outcome:
        level = logging.getLogger("asynchy").getEffectiveLevel()
        known = offers_sftp(site.remote), kept.round_trip(site.remote)
        task = Task(settings, means, retries, level, transfer, unsure, *known)
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
                getattr(site.board, name)(*details)

        ended = child.run(
            _COMMAND,
            stop=site.stop,
            on_stdout=hear,
            on_stderr=lambda line: None,
            environment={},
            stdin=pickle.dumps(task),
            grace=_GRACE,
            timeout=site.remote.timeout,
        )
        site.board.end(transfer.copy)
        if not results:
            return _died(transfer.copy, ended)
        if isinstance(results[0], AsynchyError):
            raise results[0]
        return results[0]

    return run


def _died(copy: Copy, ended: child.Ended) -> Outcome:
    if ended.stopped:
        return Outcome(copy, Verdict.STOPPED, "stopped; what was fetched is kept")
    if ended.still:
        reason = f"{ended.still} stood still for {ended.waited:.0f} s, and was ended"
        return Outcome(copy, Verdict.FAILED, reason)
    logging.getLogger(__name__).error("%s: its process died: %s", copy.epn, ended.stderr)
    return Outcome(copy, Verdict.FAILED, f"its process died (exit code {ended.code})")


def main() -> None:
    """Do the task on standard input."""
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.ask())
    logger = logging.getLogger("asynchy")
    logger.addHandler(_TellingHandler())
    logger.setLevel(task.level)
    result: Outcome | AsynchyError
    try:
        result = _brought(task, stop)
    except AsynchyError as error:
        result = error
    _tell("result", result)


def _brought(task: Task, stop: Stop) -> Outcome:
    site = site_of(task.settings, stop, _TellingBoard(), write=True)
    site = replace(site, means=task.means, retries=task.retries)
    if not task.offers_sftp:
        remember_no_sftp(site.remote)
    if task.round_trip is not None:
        kept.remember_round_trip(site.remote, task.round_trip)
    return bring(site, task.transfer, task.unsure)


def _tell(*event: Any) -> None:
    sys.stdout.buffer.write(base64.b64encode(pickle.dumps(event)) + _END + b"\n")
    sys.stdout.buffer.flush()


class _TellingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += f" | {logging.Formatter().formatException(record.exc_info)}"
        _tell("log", record.name, record.levelno, "%s", message)


class _TellingBoard(Board):
    def begin(self, copy: Copy, survey: Survey) -> None:
        _tell("begin", copy, survey)

    def look(self, copy: Copy, files: int, total: int, doing: str) -> None:
        _tell("look", copy, files, total, doing)

    def arrived(self, copy: Copy, done: int, files: int) -> None:
        _tell("arrived", copy, done, files)

    def end(self, copy: Copy) -> None:
        _tell("end", copy)
