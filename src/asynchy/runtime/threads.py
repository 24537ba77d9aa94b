"""Several things at once, none of which holds up a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from asynchy.errors import Stopped
from asynchy.model.cancellation import Stop

_T = TypeVar("_T")
_POLL_INTERVAL = 0.1  # seconds


def all_at_once(
    tasks: Sequence[Callable[[], _T]], stop: Stop, on_tick: Callable[[], None]
) -> list[_T]:
    """Run all tasks at the same time; their results in order. `on_tick` is called while waiting.

    The threads are daemons: a request that hangs does not hold up the end of the process.

    Raises:
        Stopped: a stop was requested meanwhile.
        Exception: as raised by the first task that failed.
    """
    futures: list[Future[_T]] = [Future() for _ in tasks]

    def run(task: Callable[[], _T], future: Future[_T]) -> None:
        try:
            future.set_result(task())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    for task, future in zip(tasks, futures, strict=True):
        threading.Thread(target=run, args=(task, future), daemon=True).start()
    while wait(futures, _POLL_INTERVAL).not_done:
        on_tick()
        if stop.requested:
            raise Stopped("stopped")
    return [future.result() for future in futures]
