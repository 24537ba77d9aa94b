"""Files at the facility, read over one connection with many requests in flight.

Requests go across files, so that neither their size nor the distance counts. The sink decides what
to do with the bytes: keep them in memory, add them to a checksum, or write them to a file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.protocol import (
    Answer,
    Code,
    Data,
    Handle,
    ProtocolError,
    Status,
    close,
    is_failure,
    open_file,
    read,
)

WINDOW_BYTES = 4 << 20
"""Bytes that are asked for and have not come: twice what a connection of OpenSSH carries in a
round trip, so that the server always knows what to send next."""
READ_BYTES = 255 << 10
"""Bytes asked for at a time: what OpenSSH's server sends at most. One that sends less than was
asked for is asked for the rest."""
_MIN_READ_BYTES = 4096
"""Minimal bytes of a request, except at the end of a part: a server that claims to send one byte
at a time would be asked millions of times.
"""
_RESERVED_HANDLES = 4
"""Handles that are left for the server's own use, if it reports how many there are."""


@dataclass(eq=False, kw_only=True)
class FileRead:
    """A part of a file that is read, or all of it."""

    path: bytes
    """Absolute, at the facility."""
    length: int
    """Bytes that are wanted."""
    offset: int = 0
    size: int | None = None
    """Bytes of the file as it was listed; a file of another size is refused. None: not known; the
    file may be shorter than `length`.
    """
    handle: bytes = b""
    """The server's, once the file is open."""
    asked: int = 0
    """Bytes that were asked for."""
    requests: int = 0
    """Requests without an answer."""
    alone_as: int = 0
    """The number of the request that opens it, if no other file was open then; else 0."""
    failed: bool = False

    @property
    def to_ask(self) -> int:
        """Bytes that have not been asked for."""
        return self.length - self.asked


R = TypeVar("R", bound=FileRead)
R_contra = TypeVar("R_contra", bound=FileRead, contravariant=True)


class Sink(Protocol[R_contra]):
    """Receives the bytes that are read, in any order, also those in flight of a failed read."""

    def may_ask(self, length: int) -> bool:
        """Whether `length` more bytes may be asked for now."""

    def data(self, read: R_contra, offset: int, data: memoryview) -> None:
        """Bytes of a file; the memory is the connection's, and is used again."""

    def refused(self, read: R_contra, length: int, answer: Status) -> None:
        """So many bytes cannot be had, or the file could not be opened (0): the read fails.

        `Code.EOF`: the file is shorter or longer than it was listed.
        """

    def ended(self, read: R_contra) -> None:
        """All of a read has come that will."""


class PipelinedReader(Generic[R]):
    """Reads over one connection. It belongs to the connection's thread.

    `add` reads, then `ask` after each of the connection's turns, until `idle`.
    """

    def __init__(self, connection: Connection, sink: Sink[R], *, most_open: int) -> None:
        """`most_open`: limit on files that are open at a time."""
        self.in_flight = 0
        """Bytes that were asked for and have not come."""
        self.asked = 0
        """Bytes ever asked for."""
        self._connection = connection
        self._sink = sink
        self._waiting: deque[R] = deque()
        self._readable: deque[R] = deque()
        self._open = 0
        self._opened_count = 0
        """Number of requests to open a file."""
        self._closing = 0
        """Files whose close the server has not confirmed."""
        self._ahead = 0
        """Bytes of opened files that were not asked for."""
        limits = connection.limits
        self._handles = most_open
        if limits.handles:
            self._handles = min(most_open, max(1, limits.handles - _RESERVED_HANDLES))
        self._most_open = self._handles
        self.limit_requests(READ_BYTES)

    def limit_requests(self, most_bytes: int) -> None:
        """Ask for at most `most_bytes` at a time from now on, and for 4,096 at least."""
        allowed = self._connection.limits.read or most_bytes
        self._most_bytes = max(_MIN_READ_BYTES, min(most_bytes, allowed))

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be read; answers may be in flight."""
        return not self._waiting and not self._readable

    @property
    def needs_more(self) -> bool:
        """Whether it could ask for more than what was added."""
        return not self._waiting and self._ahead < WINDOW_BYTES

    def add(self, read: R) -> None:
        """Read this, too, after what was added before."""
        self._waiting.append(read)

    def ask(self) -> None:
        """Open files and ask for as many bytes as may be in flight."""
        while self._waiting and self._open < self._most_open and self._ahead < WINDOW_BYTES:
            self._begin(self._waiting.popleft())
        while self._readable and self.in_flight < WINDOW_BYTES:
            length = min(self._most_bytes, self._readable[0].to_ask)
            if not self._sink.may_ask(length):
                return
            self._go_on(self._readable[0], length)

    def fail(self, read: R) -> None:
        """Ask for no more bytes of a read; those in flight still come."""
        if read.failed:
            return
        read.failed = True
        self._ahead -= read.to_ask
        read.asked = read.length
        if read in self._readable:
            self._readable.remove(read)

    def _begin(self, file_read: R) -> None:
        self._opened_count += 1
        file_read.alone_as = 0 if self._open or self._closing else self._opened_count
        self._open += 1
        self._ahead += file_read.length
        self._connection.ask(
            lambda number: open_file(number, file_read.path),
            lambda answer: self._opened(file_read, answer),
        )

    def _opened(self, file_read: R, answer: Answer) -> None:
        if isinstance(answer, Handle):
            file_read.handle = answer.handle
            self._readable.append(file_read)
            return
        self._open -= 1
        if (
            is_failure(answer) and file_read.alone_as != self._opened_count
        ):  # it may have no handle for one more
            self._most_open = max(1, min(self._most_open, self._open))
            self._ahead -= file_read.length
            self._waiting.appendleft(file_read)
            return
        if is_failure(answer):  # it is the file
            self._most_open = self._handles
        self._refuse(file_read, 0, answer)
        self._sink.ended(file_read)

    def _go_on(self, file_read: R, length: int) -> None:
        offset = file_read.offset + file_read.asked
        if (
            length == self._most_bytes == file_read.to_ask
        ):  # one more is asked for at the end of a file
            length -= 1
        self._ahead -= length
        self.asked += length
        file_read.asked += length
        if not file_read.to_ask:
            self._readable.popleft()
        self._read(file_read, offset, length)

    def _read(self, file_read: R, offset: int, length: int) -> None:
        """Ask for bytes; at the end of the file for one more, which only a longer one has."""
        file_read.requests += 1
        self.in_flight += length
        read_length = length + (offset + length == file_read.size)
        self._connection.ask(
            lambda number: read(number, file_read.handle, offset, read_length),
            lambda answer: self._answered(file_read, offset, length, answer),
        )

    def _answered(self, file_read: R, offset: int, length: int, answer: Answer) -> None:
        file_read.requests -= 1
        self.in_flight -= length
        is_longer = offset + length == file_read.size
        if isinstance(answer, Data) and is_longer and len(answer.data) == length + 1:
            answer = Status(Code.EOF, b"")  # the file is longer than listed
        elif _is_end(answer) and (not length or file_read.size is None):
            answer = Data(memoryview(b""))
        if isinstance(answer, Data):
            self._hand_over(file_read, offset, length, answer.data)
        else:
            self._refuse(file_read, length, answer)
        if not file_read.requests and not file_read.to_ask:
            self._close(file_read)
            self._sink.ended(file_read)

    def _close(self, file_read: R) -> None:
        """Close a file. A server that answers in another order may still open others before."""

        def closed(_answer: Answer) -> None:
            self._closing -= 1

        self._open -= 1
        self._closing += 1
        self._connection.ask(lambda number: close(number, file_read.handle), closed)

    def _hand_over(self, file_read: R, offset: int, length: int, data: memoryview) -> None:
        count = len(data)
        min_bytes = 0 if file_read.size is None else min(1, length)
        if not min_bytes <= count <= length:
            raise ProtocolError(f"{count:,} bytes where {length:,} were asked for")
        if not count and file_read.size is None:  # the end of a file whose size is not known
            return
        self._sink.data(file_read, offset, data)
        if count < length:
            self._read(file_read, offset + count, length - count)

    def _refuse(self, file_read: R, length: int, answer: Answer) -> None:
        if not isinstance(answer, Status):
            raise ProtocolError(f"{type(answer).__name__} in answer to a question about a file")
        self._sink.refused(file_read, length, answer)
        self.fail(file_read)


def _is_end(answer: Answer) -> bool:
    return isinstance(answer, Status) and answer.code == Code.EOF
