"""One stream: a process with a connection of its own that does one task after another."""

from __future__ import annotations

import signal

from asynchy.engines.sftp.messages import Event, LocalFailure, Ready, Task, WorkerConfig
from asynchy.engines.sftp.task_run import Heartbeat, TaskRun, connection_lost
from asynchy.errors import AsynchyError, Stopped
from asynchy.localfs.copy_tree import error_reason
from asynchy.model.cancellation import Stop
from asynchy.ssh.fork_server import Messages, to_parent
from asynchy.ssh.sftp.connection import Connection

_POLL_INTERVAL = 0.5  # seconds
"""Seconds between two checks whether a stop was requested, while idle."""


def main(descriptor: int) -> None:
    """Run a stream; `descriptor` is its pipe."""
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
    config: WorkerConfig = pipe.recv()
    event: Event | None = None
    heartbeat = Heartbeat(pipe.send)
    try:
        with Connection(
            config.remote, stop, patient=config.patient, on_wait=heartbeat.beat
        ) as connection:
            connection.on_wait = _do_nothing  # a task gives its own signs
            pipe.send(Ready(connection.round_trip))
            while event is None and (task := _next_task(pipe, stop)) is not None:
                try:
                    stream = TaskRun(task, config, connection, pipe, stop)
                except OSError as error:  # something else is in the place of the folders by now
                    event = LocalFailure(*error_reason(error))
                else:
                    event = stream.run()
    except Stopped:
        return
    except AsynchyError as error:
        event = connection_lost(error)
    if event is not None:
        pipe.send(event)


def _do_nothing() -> None:
    return


def _next_task(pipe: Messages, stop: Stop) -> Task | None:
    while not stop.requested:
        if pipe.poll(_POLL_INTERVAL):
            task: Task = pipe.recv()
            return task
    return None
