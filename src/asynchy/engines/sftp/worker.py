"""One stream: a process with a connection of its own that does one task after another."""

from __future__ import annotations

import signal

from asynchy.engines.sftp.messages import Event, LocalFailure, Ready, Task, WorkerConfig
from asynchy.engines.sftp.task_run import Heartbeat, TaskRun, lost
from asynchy.errors import AsynchyError, Stopped
from asynchy.localfs.copy_tree import error_reason
from asynchy.model.cancellation import Stop
from asynchy.ssh.fork_server import Messages, to_parent
from asynchy.ssh.sftp.connection import Connection

_POLL_INTERVAL = 0.5  # seconds
"""Seconds between two looks at the wish to stop, where there is nothing to do."""


def main(descriptor: int) -> None:
    """Work as a stream whose pipe is this descriptor."""
    pipe = to_parent(descriptor)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.request())
    try:
        _serve(pipe, stop)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the coordinator is gone


def _serve(pipe: Messages, stop: Stop) -> None:
    """Connect, and do one task after another until the connection is lost."""
    hire: WorkerConfig = pipe.recv()
    word: Event | None = None
    signs = Heartbeat(pipe.send)
    try:
        with Connection(hire.remote, stop, patient=hire.patient, on_wait=signs.give) as connection:
            connection.on_wait = _nothing  # a task gives its own signs
            pipe.send(Ready(connection.round_trip))
            while word is None and (task := _next(pipe, stop)) is not None:
                try:
                    stream = TaskRun(task, hire, connection, pipe, stop)
                except OSError as error:  # something else is in the place of the folders by now
                    word = LocalFailure(*error_reason(error))
                else:
                    word = stream.run()
    except Stopped:
        return
    except AsynchyError as error:
        word = lost(error)
    if word is not None:
        pipe.send(word)


def _nothing() -> None:
    return


def _next(pipe: Messages, stop: Stop) -> Task | None:
    while not stop.requested:
        if pipe.poll(_POLL_INTERVAL):
            task: Task = pipe.recv()
            return task
    return None
