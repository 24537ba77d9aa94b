"""The processes of streams: hired for a transfer, and for the next one if it comes soon."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from asynchy.engines.sftp.messages import WorkerConfig
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.ssh import fork_server
from asynchy.ssh.fork_server import WorkerProcess
from asynchy.ssh.idle_pool import IdlePool
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession

MAX_CONNECTING = 8
"""Connections that are made at a time: sshd drops some where there are ten (MaxStartups)."""
_WORKER = "asynchy.engines.sftp.worker"


def load() -> None:
    """Begin to load the code of streams, in a process beside this one."""
    fork_server.load(_WORKER)


@dataclass(eq=False)
class PooledWorker:
    """A stream's process."""

    process: WorkerProcess
    round_trip: float | None = None
    """Seconds to the server and back, as it reported; None while it is not connected."""

    def close(self) -> None:
        """End it."""
        self.process.end(0.0)


class WorkerPool:
    """The worker processes of one command for one server; safe for several threads."""

    def __init__(self, session: ServerSession, bandwidth: BandwidthTimetable | None) -> None:
        self.session = session
        self._bandwidth = bandwidth
        self._idle: IdlePool[PooledWorker] = IdlePool(session.server)
        self._preparing = threading.Lock()

    @property
    def remote(self) -> Server:
        """Where the streams read from."""
        return self.session.server

    def acquire(self, *, patient: bool) -> PooledWorker:
        """An idle worker, or a new one; `patient` as for `Connection`."""
        while (worker := self._idle.take()) is not None:
            if worker.process.alive:
                return worker
            worker.close()
        return self._new(patient=patient)

    def release(self, worker: PooledWorker) -> None:
        """Give back a worker that is idle."""
        self._idle.put(worker)

    def close(self) -> None:
        """End the idle workers."""
        self._idle.close()

    def prepare(self, number: int, concurrent: int) -> None:
        """Start `number` workers in advance, for a transfer that will begin in a moment.

        `concurrent`: how many other connections are being made.
        """
        number = min(number, max(1, MAX_CONNECTING - concurrent))
        with self._preparing:
            while self._idle.open and len(self._idle) < number:
                self._idle.put(self._new(patient=False))

    def _new(self, *, patient: bool) -> PooledWorker:
        process = WorkerProcess(_WORKER)
        _ = self.remote.options  # asked for here, once, and sent with the server
        process.pipe.send(WorkerConfig(self.remote, patient, self._bandwidth))
        return PooledWorker(process)
