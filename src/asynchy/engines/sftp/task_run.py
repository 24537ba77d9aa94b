"""One task of a stream: bundles of files fetched over one connection.

What is read is written to files (`ssh/sftp/pipelined_reader.py`). A second thread makes durable
what has arrived, puts it in its place and tells the coordinator, while the first goes on.
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
"""Seconds between two lots that are made durable, where the disk is that fast."""
_COMMIT_BYTES = 16 << 20
"""Bytes that are made durable before that time has passed."""
_IDLE_WAIT = 0.05  # seconds
"""Seconds without anything to do after which it is looked around."""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RESUME_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Heartbeat:
    """Signs of life for the coordinator, now and then."""

    def __init__(self, say: Callable[[Event], None]) -> None:
        self._say = say
        self._given = 0.0

    def give(self) -> None:
        """Give one, if it is time."""
        now = time.monotonic()
        if now - self._given > _HEARTBEAT_INTERVAL:
            self._given = now
            self._say(Alive())


def lost(error: AsynchyError) -> ConnectionLost:
    """What the coordinator is told of an error of the connection."""
    return ConnectionLost(str(error), error.hint, distrust=isinstance(error, HostKeyRefused))


class TaskRun:
    """One task of a stream."""

    def __init__(
        self, task: Task, hire: WorkerConfig, connection: Connection, pipe: Messages, stop: Stop
    ) -> None:
        self._task = task
        self._connection = connection
        self._pipe = pipe
        self._stop = stop
        self._mail = select.poll()  # asked every few microseconds; the pipe's own is slow
        self._mail.register(pipe.fileno(), select.POLLIN)
        self._scratch = opened(task.copy.project_folder, task.scratch)
        self._committer = Committer(task, self._scratch, pipe)
        self._signs = Heartbeat(self._committer.say)
        self._timeout = hire.remote.timeout
        self._pace = None
        if hire.bandwidth is not None:
            self._pace = BandwidthLimit(place_of(hire.remote, os.getuid()), hire.bandwidth)
        self._not_before = 0.0
        self._granted = 0
        """Bytes that the limit of the bandwidth allows to ask for, from then on."""
        self._reader: PipelinedReader[Fetch] = PipelinedReader(
            connection, self, most_open=_MAX_OPEN_FILES
        )
        self._in_vain = 0
        """Bytes that were asked for and will never be durable."""
        self._handed_over = 0
        """Those that came and were handed over to be made durable."""
        self._made = 0
        self._arrived = 0
        self._told = self._committed = time.monotonic()
        self._fed = True
        self._ended = False

    def run(self) -> Event | None:
        """Do it; what is to be said where nothing can go on."""
        word: Event | None = None
        try:
            self._work()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except DiskStandsStill:
            raise  # the thread that hangs in it cannot be waited for
        except AsynchyError as error:
            word = None if isinstance(error, Stopped) else lost(error)
        except OSError as error:
            word = LocalFailure(*error_reason(error))
        except Exception:  # noqa: BLE001 - the coordinator is told, and has a log
            word = LocalFailure(traceback.format_exc(), None)
        trouble = self._committer.finish(self._heed_disk)
        os.close(self._scratch)
        self._tell_arrived()
        if trouble is not None:
            word = LocalFailure(*error_reason(trouble))
        if word is None and not self._stop.requested:
            self._committer.say(Idle())
        return word

    def _heed_disk(self) -> None:
        """Give a sign of life, unless what is made durable stands still.

        Raises:
            DiskStandsStill: it has for too long, and cannot be ended.
        """
        if self._committer.standing > self._timeout:
            raise DiskStandsStill(
                f"the file system at home took nothing for {self._timeout} s",
                hint="look at the file system of the project folder (`df`, `dmesg`)",
            )
        self._signs.give()

    def _work(self) -> None:
        while True:
            self._heed_disk()
            self._hear()
            self._ask()
            if self._connection.in_flight:
                gather = self._reader.in_flight > WINDOW_BYTES // 4
                self._connection.turn(self._patience(), gather=gather)
            elif self._ended and self._reader.idle:
                return
            else:
                self._mail.poll(1000 * self._patience())
                if self._stop.requested:
                    raise Stopped("stopped")
            now = time.monotonic()
            lot = self._reader.asked - self._reader.in_flight - self._in_vain - self._handed_over
            if (
                now - self._committed > _COMMIT_INTERVAL
                or lot > _COMMIT_BYTES
                or not self._reader.in_flight
            ):
                self._handed_over += lot
                self._committed = now
                self._committer.hand_over()
            if now - self._told > _REPORT_INTERVAL:
                self._tell_arrived()

    def _patience(self) -> float:
        """Seconds to wait where nothing happens: until the next request may be made, or be told."""
        later = self._not_before - time.monotonic()
        return min(_IDLE_WAIT, later) if later > 0 else _IDLE_WAIT

    def _hear(self) -> None:
        while not self._ended and self._mail.poll(0):
            bundle: WorkUnit | None = self._pipe.recv()
            if bundle is None:
                self._ended = True
                return
            self._fed = True
            self._committer.expect(bundle)
            for number, piece in enumerate(bundle.pieces):
                self._reader.add(self._fetch(bundle.number, number, piece))

    def _fetch(self, bundle: int, number: int, piece: Chunk) -> Fetch:
        path = f"{self._task.copy.source}/".encode() + piece.entry.path
        return Fetch(
            path=path, offset=piece.offset, length=piece.length, size=piece.entry.size,
            bundle=bundle, number=number, piece=piece,
        )  # fmt: skip

    def _tell_arrived(self) -> None:
        self._told = time.monotonic()
        if self._arrived:
            self._committer.say(Arrived(self._arrived))
            self._arrived = 0

    def _ask(self) -> None:
        """Ask for as much as may be in flight, and for more work before there is none left."""
        if self._pace is not None:
            self._reader.limit_requests(self._pace.max_bytes or READ_BYTES)
        self._reader.ask()
        if self._fed and not self._ended and self._reader.hungry:
            self._fed = False
            self._committer.say(NeedsWork())

    def may_ask(self, length: int) -> bool:
        """Whether neither the disk nor the limit of the bandwidth is behind."""
        unsafe = self._reader.asked - self._in_vain - self._committer.safe
        if unsafe and unsafe + length > MAX_CHUNK_BYTES:
            return False
        if self._pace is None:
            return True
        if not self._granted:
            self._not_before = time.monotonic() + self._pace.wait_for(length)
            self._granted = length
        if time.monotonic() < self._not_before:
            return False
        self._granted = 0
        return True

    def data(self, read: Fetch, offset: int, data: memoryview) -> None:
        """Write bytes that came, unless their file is of no use any more."""
        self._arrived += len(data)
        if read.failed:
            self._in_vain += len(data)
        else:
            self._write(read, offset, data)

    def refused(self, read: Fetch, length: int, answer: Status) -> None:
        """Tell the coordinator of a file that cannot be had."""
        self._in_vain += length
        self._fail(read, *_fault(answer))

    def ended(self, read: Fetch) -> None:
        """All of a chunk has come that will."""
        if read.file >= 0:
            os.close(read.file)
        if read.failed and read.temporary:
            os.unlink(read.temporary, dir_fd=self._scratch)
        self._committer.ended(read)

    def _fail(self, fetch: Fetch, fault: Fault, words: str, hint: str | None = None) -> None:
        """A piece cannot be had; what is in flight of it still comes, and is of no use."""
        if fetch.failed:
            return
        self._reader.fail(fetch)
        self._committer.fail(fetch, fault, words, hint)
        if fetch.piece.whole:
            self._in_vain += fetch.written

    def _write(self, fetch: Fetch, offset: int, data: memoryview) -> None:
        """Write bytes that came; home may refuse this file alone, as one that is too large."""
        try:
            if fetch.file < 0:
                self._make(fetch)
            while data:
                count = os.pwrite(fetch.file, data, offset)
                fetch.written += count
                if not fetch.piece.whole:
                    self._committer.arrived(fetch, (offset, count))
                data, offset = data[count:], offset + count
        except OSError as error:
            if not is_about_one_file(error):
                raise
            self._in_vain += len(data)
            self._fail(fetch, Fault.NOT_PLACED, *error_reason(error))

    def _make(self, fetch: Fetch) -> None:
        entry = fetch.piece.entry
        if fetch.piece.whole:
            self._made += 1
            name = f"{self._task.number}-{self._made}"
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
