"""Work that a process of its own does: it may take long, much memory, or wait for a file system.

`web/worker.py` is what runs there. All share one process that has loaded the code and forks them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asynchy.model.formatting import duration
from asynchy.ssh.fork_server import WorkerProcess, load

_MODULE = "asynchy.web.worker"
_LONGEST = 900.0
"""Seconds that any work may take."""
_TICK = 0.2


class WorkFailed(Exception):
    """The work was not done; the text says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def prepare() -> None:
    """Have the code loaded; to be called by a thread that lives as long as the dashboard does."""
    load(_MODULE)


def run_apart(name: str, *arguments: Any, ends: Callable[[], bool] = lambda: False) -> Any:
    """Have a process do some work of `web/worker.py`; what it returns. All of it can be pickled.

    `ends`: whether the dashboard ends, so that nobody wants it any more.

    Raises:
        WorkFailed: it was not done.
    """
    try:
        worker = WorkerProcess(_MODULE)
    except OSError as error:
        raise WorkFailed(f"no process could be started: {error.strerror or error}") from None
    try:
        worker.pipe.send((name, arguments))
        deadline = time.monotonic() + _LONGEST
        while not worker.pipe.poll(_TICK):
            if ends():
                raise WorkFailed("the dashboard ends")
            if time.monotonic() > deadline:
                raise WorkFailed(
                    f"not finished within {duration(_LONGEST)}: "
                    "a file system at home may not answer"
                )
        is_done, *answer = worker.pipe.recv()
    except (EOFError, OSError):
        raise WorkFailed("the process that was to do it died") from None
    finally:
        worker.end(0.0 if ends() else 1.0)
    if not is_done:
        raise WorkFailed(*answer)
    return answer[0]
