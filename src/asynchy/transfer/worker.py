"""One stream: a process with a connection of its own that fetches bundles.

Files are opened, read and closed with many requests in flight, across files and bundles, so that
neither their size nor the distance counts. A second thread makes durable what has arrived, puts it
in its place and tells the coordinator, while the first goes on.
"""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable

from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import AsynchyError, DiskStandsStill, HostKeyRefused, Stopped
from asynchy.plan.bundles import LARGEST, Bundle
from asynchy.ssh.companion import Messages, to_parent
from asynchy.ssh.remote import remember_options
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.packets import (
    Answer,
    Code,
    Data,
    Handle,
    Limits,
    ProtocolError,
    Status,
    close,
    is_failure,
    open_file,
    read,
)
from asynchy.transfer.committer import Committer, Fetch
from asynchy.transfer.home import why
from asynchy.transfer.journal import name_of
from asynchy.transfer.messages import (
    Alive,
    Arrived,
    Broken,
    Event,
    Fault,
    Free,
    Hire,
    Hungry,
    Lost,
    Ready,
    Task,
)
from asynchy.transfer.pace import Pace
from asynchy.tree import is_about_one_file, opened

WINDOW = 4 << 20
"""Bytes that are asked for and have not arrived: twice what a connection of OpenSSH carries in a
round trip, so that the server always knows what to send next."""
_READ = 255 << 10
"""Bytes asked for at a time: what OpenSSH's server sends at most. One that sends less than was
asked for is asked for the rest."""
_FEWEST = 4096
"""Bytes asked for at a time at least, but at the end of a piece."""
_OPEN = 500
"""Files that are open at a time."""
_TELL = 0.1
"""Seconds between two messages about bytes that arrived."""
_ALIVE = 0.5
"""Seconds between two signs of life."""
_COMMIT = 0.25
"""Seconds between two lots that are made durable, where the disk is that fast."""
_LOT = 16 << 20
"""Bytes that are made durable before that time has passed."""
_IDLE = 0.5
"""Seconds between two looks at the wish to stop, where there is nothing to do."""
_PATIENCE = 0.05
"""Seconds without anything to do after which it is looked around."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GO_ON = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def main(descriptor: int) -> None:
    """Work as a stream whose pipe is this descriptor."""
    pipe = to_parent(descriptor)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.ask())
    os.umask(0)  # files are made with the mode that they are to have
    try:
        _serve(pipe, stop)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the coordinator is gone


def _serve(pipe: Messages, stop: Stop) -> None:
    """Connect, and do one task after another until the connection is lost."""
    hire: Hire = pipe.recv()
    remember_options(hire.remote.host, hire.options)
    word: Event | None = None
    signs = _Signs(pipe.send)
    try:
        with Connection(hire.remote, stop, patient=hire.patient, on_wait=signs.give) as connection:
            connection.on_wait = _nothing  # a task gives its own signs
            pipe.send(Ready(connection.round_trip))
            while word is None and (task := _next(pipe, stop)) is not None:
                try:
                    stream = _Stream(task, hire, connection, pipe, stop)
                except OSError as error:  # something else is in the place of the folders by now
                    word = Broken(*why(error))
                else:
                    word = stream.run()
    except Stopped:
        return
    except AsynchyError as error:
        word = _lost(error)
    if word is not None:
        pipe.send(word)


def _nothing() -> None:
    return


class _Signs:
    """Signs of life for the coordinator, now and then."""

    def __init__(self, say: Callable[[Event], None]) -> None:
        self._say = say
        self._given = 0.0

    def give(self) -> None:
        """Give one, if it is time."""
        now = time.monotonic()
        if now - self._given > _ALIVE:
            self._given = now
            self._say(Alive())


def _lost(error: AsynchyError) -> Lost:
    return Lost(str(error), error.hint, distrust=isinstance(error, HostKeyRefused))


def _next(pipe: Messages, stop: Stop) -> Task | None:
    while not stop.asked:
        if pipe.poll(_IDLE):
            task: Task = pipe.recv()
            return task
    return None


class _Stream:
    """One task of a stream."""

    def __init__(
        self, task: Task, hire: Hire, connection: Connection, pipe: Messages, stop: Stop
    ) -> None:
        self._task = task
        self._connection = connection
        self._pipe = pipe
        self._stop = stop
        self._mail = select.poll()  # asked every few microseconds; the pipe's own is slow
        self._mail.register(pipe.fileno(), select.POLLIN)
        self._scratch = opened(task.copy.project_folder, task.scratch)
        self._committer = Committer(task, self._scratch, pipe)
        self._signs = _Signs(self._committer.say)
        self._timeout = hire.remote.timeout
        bandwidth = hire.bandwidth
        self._pace = Pace(hire.remote, bandwidth) if bandwidth else None
        self._not_before = 0.0
        self._granted = 0
        """Bytes that the pace allows to ask for, from then on."""
        self._most = min(_READ, max(_FEWEST, bandwidth // 10)) if bandwidth else _READ
        self._waiting: deque[Fetch] = deque()
        self._readable: deque[Fetch] = deque()
        self._open = 0
        self._in_flight = self._ahead = 0
        """Bytes that were asked for; bytes of opened files that were not."""
        self._asked = self._in_vain = 0
        """Bytes ever asked for; those of them that will never be durable."""
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
            self._heed(self._connection.limits)
            self._work()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except DiskStandsStill:
            raise  # the thread that hangs in it cannot be waited for
        except AsynchyError as error:
            word = None if isinstance(error, Stopped) else _lost(error)
        except OSError as error:
            word = Broken(*why(error))
        except Exception:  # noqa: BLE001 - the coordinator is told, and has a log
            word = Broken(traceback.format_exc(), None)
        trouble = self._committer.finish(self._heed_disk)
        os.close(self._scratch)
        self._tell_arrived()
        if trouble is not None:
            word = Broken(*why(trouble))
        if word is None and not self._stop.asked:
            self._committer.say(Free())
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

    def _heed(self, limits: Limits) -> None:
        self._handles = min(_OPEN, max(1, limits.handles - 4)) if limits.handles else _OPEN
        self._most_open = self._handles
        # A server that says that it sends a byte at a time would have us ask for millions of them.
        self._most = min(self._most, max(_FEWEST, limits.read or self._most))

    def _work(self) -> None:
        while True:
            self._heed_disk()
            self._hear()
            self._ask()
            if self._connection.in_flight:
                gather = self._in_flight > WINDOW // 4
                self._connection.turn(self._patience(), gather=gather)
            elif self._ended and not self._waiting and not self._readable:
                return
            else:
                self._mail.poll(1000 * self._patience())
                if self._stop.asked:
                    raise Stopped("stopped")
            now = time.monotonic()
            lot = self._asked - self._in_flight - self._in_vain - self._handed_over
            if now - self._committed > _COMMIT or lot > _LOT or not self._in_flight:
                self._handed_over += lot
                self._committed = now
                self._committer.hand_over()
            if now - self._told > _TELL:
                self._tell_arrived()

    def _patience(self) -> float:
        """Seconds to wait where nothing happens: until the next request may be made, or be told."""
        later = self._not_before - time.monotonic()
        return min(_PATIENCE, later) if later > 0 else _PATIENCE

    def _hear(self) -> None:
        while not self._ended and self._mail.poll(0):
            bundle: Bundle | None = self._pipe.recv()
            if bundle is None:
                self._ended = True
                return
            self._fed = True
            self._committer.expect(bundle)
            for number, piece in enumerate(bundle.pieces):
                self._waiting.append(Fetch(bundle.number, number, piece))

    def _tell_arrived(self) -> None:
        self._told = time.monotonic()
        if self._arrived:
            self._committer.say(Arrived(self._arrived))
            self._arrived = 0

    def _ask(self) -> None:
        """Ask for as much as may be in flight, and for more work before there is none left."""
        while self._waiting and self._open < self._most_open and self._ahead < WINDOW:
            self._begin(self._waiting.popleft())
        while self._readable and self._in_flight < WINDOW and self._may_read(self._readable[0]):
            self._ask_for_bytes(self._readable[0])
        if self._fed and not self._ended and not self._waiting and self._ahead < WINDOW:
            self._fed = False
            self._committer.say(Hungry())

    def _begin(self, fetch: Fetch) -> None:
        self._open += 1
        self._ahead += fetch.piece.length
        path = f"{self._task.copy.source}/".encode() + fetch.piece.entry.path
        self._connection.ask(
            lambda number: open_file(number, path), lambda answer: self._opened(fetch, answer)
        )

    def _opened(self, fetch: Fetch, answer: Answer) -> None:
        if isinstance(answer, Handle):
            fetch.handle = answer.handle
            self._readable.append(fetch)
            return
        self._open -= 1
        if self._open and is_failure(answer):  # it may have no handle for one more
            self._most_open = min(self._most_open, self._open)
            self._ahead -= fetch.piece.length
            self._waiting.appendleft(fetch)
            return
        if is_failure(answer):  # it is the file
            self._most_open = self._handles
        self._fail(fetch, answer)
        self._end(fetch)

    def _may_read(self, fetch: Fetch) -> bool:
        """Whether neither the disk nor the limit of the bandwidth is behind."""
        wanted = min(self._most, fetch.to_ask)
        unsafe = self._asked - self._in_vain - self._committer.safe
        if unsafe and unsafe + wanted > LARGEST:
            return False
        if self._pace is None:
            return True
        if not self._granted:
            self._not_before = time.monotonic() + self._pace.wait_for(wanted)
            self._granted = wanted
        return time.monotonic() >= self._not_before

    def _ask_for_bytes(self, fetch: Fetch) -> None:
        offset = fetch.piece.offset + fetch.asked
        length = min(self._granted or self._most, fetch.to_ask)
        if length == self._most == fetch.to_ask:  # one more is asked for at the end of a file
            length -= 1
        self._granted = 0
        self._ahead -= length
        self._asked += length
        fetch.asked += length
        fetch.in_flight += length
        if not fetch.to_ask:
            self._readable.popleft()
        self._read(fetch, offset, length)

    def _read(self, fetch: Fetch, offset: int, length: int) -> None:
        """Ask for bytes; at the end of the file for one more, which only a longer one has."""
        self._in_flight += length
        more = length + (offset + length == fetch.piece.entry.size)
        self._connection.ask(
            lambda number: read(number, fetch.handle, offset, more),
            lambda answer: self._took(fetch, offset, length, answer),
        )

    def _took(self, fetch: Fetch, offset: int, length: int, answer: Answer) -> None:
        self._in_flight -= length
        at_end = offset + length == fetch.piece.entry.size
        if isinstance(answer, Data) and at_end and len(answer.data) == length + 1:
            answer = Status(Code.EOF, b"")  # its end is not where it was told
        elif isinstance(answer, Status) and answer.code == Code.EOF and not length:
            answer = Data(memoryview(b""))
        if isinstance(answer, Data):
            count = len(answer.data)
            if not min(1, length) <= count <= length:
                raise ProtocolError(f"{count:,} bytes where {length:,} were asked for")
            self._arrived += count
            fetch.in_flight -= count
            if fetch.failed:
                self._in_vain += count
            else:
                self._write(fetch, offset, answer.data)
            if count < length:
                self._read(fetch, offset + count, length - count)
        else:
            fetch.in_flight -= length
            self._in_vain += length
            self._fail(fetch, answer)
        if not fetch.in_flight and not fetch.to_ask:
            handle = fetch.handle
            self._connection.ask(lambda number: close(number, handle), lambda _answer: None)
            self._open -= 1
            self._end(fetch)

    def _fail(self, fetch: Fetch, answer: Answer) -> None:
        """A piece cannot be had; what is in flight of it still comes, and is of no use."""
        if fetch.failed:
            return
        fetch.failed = True
        fault, words = _fault(answer)
        self._committer.fail(fetch, fault, words)
        self._ahead -= fetch.to_ask
        if fetch in self._readable:
            self._readable.remove(fetch)
        fetch.asked = fetch.piece.length
        if fetch.piece.whole:
            self._in_vain += fetch.written

    def _write(self, fetch: Fetch, offset: int, data: memoryview) -> None:
        if fetch.file < 0:
            self._make(fetch)
        fetch.written += len(data)
        while data:
            count = os.pwrite(fetch.file, data, offset)
            if not fetch.piece.whole:
                self._committer.arrived(fetch, (offset, count))
            data, offset = data[count:], offset + count

    def _make(self, fetch: Fetch) -> None:
        entry = fetch.piece.entry
        if fetch.piece.whole:
            self._made += 1
            fetch.temporary = f"{self._task.number}-{self._made}"
            fetch.file = os.open(fetch.temporary, _CREATE, entry.mode_at_home, dir_fd=self._scratch)
        else:
            fetch.file = os.open(name_of(entry.path), _GO_ON, dir_fd=self._scratch)

    def _end(self, fetch: Fetch) -> None:
        """All of a piece has come that will."""
        if fetch.file >= 0:
            if fetch.piece.whole and not fetch.failed:
                self._date(fetch)
            os.close(fetch.file)
        if fetch.failed and fetch.temporary:
            os.unlink(fetch.temporary, dir_fd=self._scratch)
        self._committer.ended(fetch)

    def _date(self, fetch: Fetch) -> None:
        modified = fetch.piece.entry.modified
        try:
            os.utime(fetch.file, (modified, modified))
        except OSError as error:  # the file system refuses it
            if not is_about_one_file(error):
                raise
            fetch.failed = True
            self._in_vain += fetch.written
            self._committer.fail(fetch, Fault.NOT_PLACED, why(error)[0])


def _fault(answer: Answer) -> tuple[Fault, str]:
    if not isinstance(answer, Status):
        raise ProtocolError(f"{type(answer).__name__} in answer to a question about a file")
    match answer.code:
        case Code.NO_SUCH_FILE | Code.EOF:
            return Fault.CHANGED, ""
        case Code.PERMISSION_DENIED:
            return Fault.REFUSED, ""
    return Fault.FAILED, f"{shown(answer.message, limit=200)} ({answer.code})"
