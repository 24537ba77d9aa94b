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
    """Have the code of streams loaded in a moment, by a process beside this one."""
    fork_server.load(_WORKER)


@dataclass(eq=False)
class PooledWorker:
    """A stream's process."""

    companion: WorkerProcess
    round_trip: float | None = None
    """Seconds to the server and back, as it told; None while it is not connected."""

    def close(self) -> None:
        """End it."""
        self.companion.end(0.0)


class WorkerPool:
    """The processes that one command has for one server; for several threads."""

    def __init__(self, session: ServerSession, bandwidth: BandwidthTimetable | None) -> None:
        self.session = session
        self._bandwidth = bandwidth
        self._idle: IdlePool[PooledWorker] = IdlePool(session.server)
        self._preparing = threading.Lock()

    @property
    def remote(self) -> Server:
        """Where the streams read from."""
        return self.session.server

    def hire(self, *, patient: bool) -> PooledWorker:
        """One that has nothing to do, or a new one; `patient` as for `Connection`."""
        while (member := self._idle.take()) is not None:
            if member.companion.alive:
                return member
            member.close()
        return self._new(patient=patient)

    def release(self, member: PooledWorker) -> None:
        """It has nothing to do any more."""
        self._idle.put(member)

    def prepare(self, number: int, beside: int) -> None:
        """Have so many ready soon, for a transfer that will begin in a moment.

        `beside`: how many other connections are being made.
        """
        number = min(number, max(1, MAX_CONNECTING - beside))
        with self._preparing:
            while self._idle.open and len(self._idle) < number:
                self._idle.put(self._new(patient=False))

    def _new(self, *, patient: bool) -> PooledWorker:
        process = WorkerProcess(_WORKER)
        _ = self.remote.options  # asked for here, once, and sent with the server
        process.pipe.send(WorkerConfig(self.remote, patient, self._bandwidth))
        return PooledWorker(process)
