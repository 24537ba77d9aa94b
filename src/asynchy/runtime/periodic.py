"""Tells what goes on, now and then: to systemd, to the catalogue, to the log, to the terminal."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from asynchy.errors import AsynchyError
from asynchy.runtime.progress import ProgressBoard

log = logging.getLogger(__name__)

_POLL_INTERVAL = 1.0  # seconds
_LOG_INTERVAL = 60.0  # seconds


@dataclass(frozen=True)
class PeriodicTask:
    """Something to do again and again."""

    seconds: float
    action: Callable[[], None]


@contextmanager
def reporting(actions: Sequence[PeriodicTask]) -> Iterator[None]:
    """Do each action at its intervals in a thread of its own, and once more at the end.

    An action that fails is logged and done again the next time.
    """
    stopped = threading.Event()

    def work() -> None:
        next_times = [time.monotonic() + item.seconds for item in actions]
        while not stopped.wait(min(_POLL_INTERVAL, *(item.seconds for item in actions))):
            for now, item in enumerate(actions):
                if time.monotonic() >= next_times[now]:
                    next_times[now] = time.monotonic() + item.seconds
                    _attempt(item)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _attempt(item: PeriodicTask) -> None:
    try:
        item.action()
    except AsynchyError as error:
        log.warning("could not be reported: %s", error)
    except Exception:
        log.exception("could not be reported")


def log_transfers(board: ProgressBoard) -> PeriodicTask:
    """A line a minute while something is transferred."""

    def action() -> None:
        if board.running():
            log.info("%s", board.line())

    return PeriodicTask(_LOG_INTERVAL, action)


def notify(message: str) -> None:
    """Send a message to systemd, if it asked for messages: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.sendto(message.encode(), address)
        except OSError as error:
            log.debug("systemd could not be notified: %s", error)


def notify_systemd(board: ProgressBoard) -> PeriodicTask:
    """Send the status line and, for the watchdog (`WatchdogSec`), a sign of life in time.

    No sign is sent if, for as long as the watchdog waits, the main loop has not run, or no thread
    has made progress or waited for a known reason. So systemd ends a process that hangs.
    """
    watchdog_seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    seconds = min(5.0, watchdog_seconds / 3) if watchdog_seconds else 5.0

    def action() -> None:
        notify(f"STATUS={board.line()}")
        if board.quiet < watchdog_seconds:
            notify("WATCHDOG=1")

    return PeriodicTask(seconds, action)
