"""One task of a stream: fetches work units over one connection.

It writes the bytes of `ssh/sftp/pipelined_reader.py` to files. A second thread makes them durable,
puts them in place and reports to the coordinator, while the first goes on.
"""

from __future__ import annotations

import os
import select
import time
import traceback
from collections.abc import Callable

from asynchy.engines.chunks import MAX_CHUNK_BYTES, Chunk, WorkUnit
from asynchy.engines.faults import Fault
from asynchy.engines.sftp.committer import Committer, Fetch
from asynchy.engines.sftp.messages import (
    Alive,
    Arrived,
    ConnectionLost,
    Event,
    Idle,
    LocalFailure,
    NeedsWork,
    Task,
    WorkerConfig,
)
from asynchy.engines.sftp.partial_files import name_of
from asynchy.errors import AsynchyError, DiskStandsStill, HostKeyRefused, Stopped
from asynchy.localfs.copy_tree import error_reason
from asynchy.localfs.safe_tree import is_about_one_file, opened
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh.bandwidth_limit import BandwidthLimit, place_of
from asynchy.ssh.fork_server import Messages
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.pipelined_reader import READ_BYTES, WINDOW_BYTES, PipelinedReader
from asynchy.ssh.sftp.protocol import Code, Status

_MAX_OPEN_FILES = 500
"""Files that are open at a time."""
_REPORT_INTERVAL = 0.1  # seconds
"""Seconds between two messages about bytes that arrived."""
_HEARTBEAT_INTERVAL = 0.5  # seconds
"""Seconds between two signs of life."""
_COMMIT_INTERVAL = 0.25  # seconds
"""Seconds between two commits, if the disk is fast enough."""
_COMMIT_BYTES = 16 << 20
"""Bytes after which the next commit comes before that time."""
_IDLE_WAIT = 0.05  # seconds
"""Seconds to wait for messages if there is nothing to do."""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RESUME_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Heartbeat:
    """Sends signs of life to the coordinator, now and then."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._sent_at = 0.0

    def beat(self) -> None:
        """Give one, if it is time."""
        now = time.monotonic()
        if now - self._sent_at > _HEARTBEAT_INTERVAL:
            self._sent_at = now
            self._send(Alive())


def connection_lost(error: AsynchyError) -> ConnectionLost:
    """The event for an error of the connection."""
    return ConnectionLost(str(error), error.hint, distrust=isinstance(error, HostKeyRefused))


class TaskRun:
    """One task of a stream."""

    def __init__(
        self, task: Task, config: WorkerConfig, connection: Connection, pipe: Messages, stop: Stop
    ) -> None:
        self._task = task
        self._connection = connection
        self._pipe = pipe
        self._stop = stop
        self._inbox = select.poll()  # asked every few microseconds; the pipe's own is slow
        self._inbox.register(pipe.fileno(), select.POLLIN)
        self._scratch = opened(task.copy.project_folder, task.scratch)
        self._committer = Committer(task, self._scratch, pipe)
        self._heartbeat = Heartbeat(self._committer.send)
        self._timeout = config.remote.timeout
        self._bandwidth_limit = None
        if config.bandwidth is not None:
            self._bandwidth_limit = BandwidthLimit(
                place_of(config.remote, os.getuid()), config.bandwidth
            )
        self._not_before = 0.0
        self._granted = 0
        """Bytes that the limit of the bandwidth allows to ask for, from then on."""
        self._reader: PipelinedReader[Fetch] = PipelinedReader(
            connection, self, most_open=_MAX_OPEN_FILES
        )
        self._wasted = 0
        """Bytes that were asked for and will never be durable."""
        self._handed_over = 0
        """Bytes that were handed over to be made durable."""
        self._file_count = 0
        self._arrived = 0
        self._reported_at = self._committed = time.monotonic()
        self._has_work = True
        self._no_more_work = False

    def run(self) -> Event | None:
        """Do the task; returns the event to send if the stream cannot go on."""
        event: Event | None = None
        try:
            self._work()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except DiskStandsStill:
            raise  # the thread that hangs cannot be waited for
        except AsynchyError as error:
            event = None if isinstance(error, Stopped) else connection_lost(error)
        except OSError as error:
            event = LocalFailure(*error_reason(error))
        except Exception:  # noqa: BLE001 - the coordinator gets it, and has a log
            event = LocalFailure(traceback.format_exc(), None)
        commit_error = self._committer.finish(self._check_disk)
        os.close(self._scratch)
        self._report_arrived()
        if commit_error is not None:
            event = LocalFailure(*error_reason(commit_error))
        if event is None and not self._stop.requested:
            self._committer.send(Idle())
        return event

    def _check_disk(self) -> None:
        """Send a sign of life, unless the commit hangs.

        Raises:
            DiskStandsStill: it has hung for too long, and cannot be ended.
        """
        if self._committer.busy_seconds > self._timeout:
            raise DiskStandsStill(
                f"the file system at home took nothing for {self._timeout} s",
                hint="look at the file system of the project folder (`df`, `dmesg`)",
            )
        self._heartbeat.beat()

    def _work(self) -> None:
        while True:
            self._check_disk()
            self._receive()
            self._ask()
            if self._connection.in_flight:
                gather = self._reader.in_flight > WINDOW_BYTES // 4
                self._connection.turn(self._wait_seconds(), gather=gather)
            elif self._no_more_work and self._reader.idle:
                return
            else:
                self._inbox.poll(1000 * self._wait_seconds())
                if self._stop.requested:
                    raise Stopped("stopped")
            now = time.monotonic()
            uncommitted = (
                self._reader.asked - self._reader.in_flight - self._wasted - self._handed_over
            )
            if (
                now - self._committed > _COMMIT_INTERVAL
                or uncommitted > _COMMIT_BYTES
                or not self._reader.in_flight
            ):
                self._handed_over += uncommitted
                self._committed = now
                self._committer.hand_over()
            if now - self._reported_at > _REPORT_INTERVAL:
                self._report_arrived()

    def _wait_seconds(self) -> float:
        """Seconds to wait for the next message, or until the next request may be sent."""
        remaining = self._not_before - time.monotonic()
        return min(_IDLE_WAIT, remaining) if remaining > 0 else _IDLE_WAIT

    def _receive(self) -> None:
        while not self._no_more_work and self._inbox.poll(0):
            unit: WorkUnit | None = self._pipe.recv()
            if unit is None:
                self._no_more_work = True
                return
            self._has_work = True
            self._committer.expect(unit)
            for number, chunk in enumerate(unit.chunks):
                self._reader.add(self._fetch(unit.number, number, chunk))

    def _fetch(self, unit: int, number: int, chunk: Chunk) -> Fetch:
        path = f"{self._task.copy.source}/".encode() + chunk.entry.path
        return Fetch(
            path=path, offset=chunk.offset, length=chunk.length, size=chunk.entry.size,
            unit=unit, number=number, chunk=chunk,
        )  # fmt: skip

    def _report_arrived(self) -> None:
        self._reported_at = time.monotonic()
        if self._arrived:
            self._committer.send(Arrived(self._arrived))
            self._arrived = 0

    def _ask(self) -> None:
        """Ask for as much as may be in flight, and for more work before there is none left."""
        if self._bandwidth_limit is not None:
            self._reader.limit_requests(self._bandwidth_limit.max_bytes or READ_BYTES)
        self._reader.ask()
        if self._has_work and not self._no_more_work and self._reader.needs_more:
            self._has_work = False
            self._committer.send(NeedsWork())

    def may_ask(self, length: int) -> bool:
        """Whether neither the disk nor the limit of the bandwidth is behind."""
        unsafe = self._reader.asked - self._wasted - self._committer.durable_bytes
        if unsafe and unsafe + length > MAX_CHUNK_BYTES:
            return False
        if self._bandwidth_limit is None:
            return True
        if not self._granted:
            self._not_before = time.monotonic() + self._bandwidth_limit.wait_for(length)
            self._granted = length
        if time.monotonic() < self._not_before:
            return False
        self._granted = 0
        return True

    def data(self, read: Fetch, offset: int, data: memoryview) -> None:
        """Write bytes that came, unless their file is of no use any more."""
        self._arrived += len(data)
        if read.failed:
            self._wasted += len(data)
        else:
            self._write(read, offset, data)

    def refused(self, read: Fetch, length: int, answer: Status) -> None:
        """Report a file that cannot be read."""
        self._wasted += length
        self._fail(read, *_fault(answer))

    def ended(self, read: Fetch) -> None:
        """All of a chunk has come that will."""
        if read.file >= 0:
            os.close(read.file)
        if read.failed and read.temporary:
            os.unlink(read.temporary, dir_fd=self._scratch)
        self._committer.ended(read)

    def _fail(self, fetch: Fetch, fault: Fault, message: str, hint: str | None = None) -> None:
        """Give up a chunk; bytes in flight of it still come, and are dropped."""
        if fetch.failed:
            return
        self._reader.fail(fetch)
        self._committer.fail(fetch, fault, message, hint)
        if fetch.chunk.whole:
            self._wasted += fetch.written

    def _write(self, fetch: Fetch, offset: int, data: memoryview) -> None:
        """Write bytes that came; the file system may refuse just this file, as too large."""
        try:
            if fetch.file < 0:
                self._create(fetch)
            while data:
                count = os.pwrite(fetch.file, data, offset)
                fetch.written += count
                if not fetch.chunk.whole:
                    self._committer.arrived(fetch, (offset, count))
                data, offset = data[count:], offset + count
        except OSError as error:
            if not is_about_one_file(error):
                raise
            self._wasted += len(data)
            self._fail(fetch, Fault.NOT_PLACED, *error_reason(error))

    def _create(self, fetch: Fetch) -> None:
        entry = fetch.chunk.entry
        if fetch.chunk.whole:
            self._file_count += 1
            name = f"{self._task.number}-{self._file_count}"
            fetch.file = os.open(name, _CREATE_FLAGS, 0o600, dir_fd=self._scratch)
            fetch.temporary = name
        else:
            fetch.file = os.open(name_of(entry.path), _RESUME_FLAGS, dir_fd=self._scratch)


def _fault(answer: Status) -> tuple[Fault, str]:
    match answer.code:
        case Code.NO_SUCH_FILE | Code.EOF:
            return Fault.CHANGED, ""
        case Code.PERMISSION_DENIED:
            return Fault.REFUSED, ""
    return Fault.FAILED, f"{escaped(answer.message, limit=200)} ({answer.code})"
