"""What the facility's files hold, proven by digests: by the cheapest way that it offers."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from asynchy.domain.level import Held
from asynchy.domain.stop import Stop
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.packets import (
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

log = logging.getLogger(__name__)

_SLOWEST = 20_000_000
"""Bytes a second that a digest at the facility is made of at least: a limit to waiting for it."""
_WINDOW = 4 << 20
"""Bytes that are asked for and have not come: twice what a connection carries in a round trip."""
_READ = 255 << 10
"""Bytes asked for at a time: what OpenSSH's server sends at most."""
_FEWEST = 4096
"""Bytes asked for at a time at least: a server may say that it sends a byte at a time."""
_EARLY = 16 << 20
"""Bytes that came before those in front of them, from which on no more are asked for: a server may
keep the beginning of a file back."""
_OPEN = 100
"""Files that are open at a time."""

OnDigest = Callable[[bytes, bytes], None]
"""Hears a path and the SHA-256 of the file there."""


class Way(Enum):
    """How the content of files at the facility is compared, the cheapest first."""

    SHA256SUM = "sha256sum at the facility"
    RSYNC = "rsync --checksum"
    READ = "second read over SFTP"


def patience_for(remote: Remote, files: Iterable[Held]) -> float:
    """Seconds that the server may be silent while it makes digests of files."""
    return remote.timeout + sum(file.size for file in files) / _SLOWEST


def read_again(
    remote: Remote, source: str, files: Sequence[Held], on_digest: OnDigest, stop: Stop
) -> None:
    """Read files over SFTP and hand over the SHA-256 of each that has the size that it is to have.

    Raises:
        ListingError: the connection could not be made, or broke off.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh is not installed.
    """
    with Connection(remote, stop) as connection:
        _Reader(connection, source, files, on_digest).run()


class _File:
    """A file on its way."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.handle = b""
        self.asked = 0
        self.in_flight = 0
        """Requests."""
        self.good = True
        self.early = 0
        """Bytes that came before those in front of them."""
        self._sha256 = hashlib.sha256()
        self._hashed = 0
        self._early: dict[int, bytes] = {}

    @property
    def all_asked(self) -> bool:
        """Whether all of it was asked for, and the byte behind its end, which must not be there."""
        return self.asked > self.held.size

    def take(self, offset: int, data: memoryview) -> None:
        """Add bytes to the digest, each once those before it have come."""
        if not self.good:
            return
        if offset != self._hashed:
            self._early[offset] = bytes(data)
            self.early += len(data)
            return
        self._add(data)
        while (early := self._early.pop(self._hashed, None)) is not None:
            self.early -= len(early)
            self._add(early)

    def fail(self) -> None:
        """It is not the file that was listed; what came of it is of no use."""
        self.good = False
        self._early.clear()
        self.early = 0

    def _add(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        self._hashed += len(data)

    @property
    def digest(self) -> bytes | None:
        """Its SHA-256; None where it is not the file that was listed."""
        whole = self.good and self._hashed == self.held.size
        return self._sha256.digest() if whole else None


class _Reader:
    """Reads files over one connection, with many requests in flight."""

    def __init__(
        self, connection: Connection, source: str, files: Sequence[Held], on_digest: OnDigest
    ) -> None:
        self._connection = connection
        self._above = f"{source}/".encode()
        self._waiting = deque(files)
        self._readable: deque[_File] = deque()
        self._on_digest = on_digest
        self._open = self._in_flight = self._early = 0
        limits = connection.limits
        self._most = min(_READ, max(_FEWEST, limits.read or _READ))
        self._handles = min(_OPEN, max(1, limits.handles - 4)) if limits.handles else _OPEN
        self._most_open = self._handles

    def run(self) -> None:
        self._ask()
        while self._connection.in_flight:
            self._connection.turn()
            self._ask()

    def _ask(self) -> None:
        while self._waiting and self._open < self._most_open:
            self._begin(_File(self._waiting.popleft()))
        while self._readable and self._in_flight < _WINDOW and self._early < _EARLY:
            self._go_on(self._readable[0])

    def _begin(self, file: _File) -> None:
        self._open += 1
        path = self._above + file.held.path
        self._connection.ask(
            lambda number: open_file(number, path), lambda answer: self._opened(file, answer)
        )

    def _opened(self, file: _File, answer: Answer) -> None:
        if isinstance(answer, Handle):
            file.handle = answer.handle
            self._readable.append(file)
            return
        self._open -= 1
        if self._open and is_failure(answer):  # it may have no handle for one more
            self._most_open = min(self._most_open, self._open)
            self._waiting.appendleft(file.held)
        elif is_failure(answer):  # it is the file
            self._most_open = self._handles

    def _go_on(self, file: _File) -> None:
        offset = file.asked
        length = min(self._most, file.held.size - offset) or 1
        file.asked += length
        if file.all_asked:
            self._readable.popleft()
        self._read(file, offset, length)

    def _read(self, file: _File, offset: int, length: int) -> None:
        file.in_flight += 1
        self._in_flight += length
        self._connection.ask(
            lambda number: read(number, file.handle, offset, length),
            lambda answer: self._took(file, offset, length, answer),
        )

    def _took(self, file: _File, offset: int, length: int, answer: Answer) -> None:
        file.in_flight -= 1
        self._in_flight -= length
        self._early -= file.early
        if isinstance(answer, Data) and offset < file.held.size:
            count = len(answer.data)
            if not 0 < count <= length:
                raise ProtocolError(f"{count:,} bytes where {length:,} were asked for")
            file.take(offset, answer.data)
            if count < length:
                self._read(file, offset + count, length - count)
        elif not _is_end(answer) or offset < file.held.size:
            file.fail()
        self._early += file.early
        if not file.in_flight and file.all_asked:
            self._end(file)

    def _end(self, file: _File) -> None:
        handle = file.handle
        self._connection.ask(lambda number: close(number, handle), lambda _answer: None)
        self._open -= 1
        if file.digest is not None:
            self._on_digest(file.held.path, file.digest)


def _is_end(answer: Answer) -> bool:
    return isinstance(answer, Status) and answer.code == Code.EOF
