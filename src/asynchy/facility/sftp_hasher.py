"""Digests of the facility's files, by the cheapest method that it offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from asynchy.model.cancellation import Stop
from asynchy.model.verification import CopyFile
from asynchy.ssh.server import Server
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.pipelined_reader import FileRead, PipelinedReader
from asynchy.ssh.sftp.protocol import Status

_MIN_DIGEST_RATE = 20_000_000  # bytes per second
"""Bytes a second that a digest at the facility is made of at least: a limit to waiting for it."""
_MAX_EARLY_BYTES = 16 << 20
"""Bytes that came before those in front of them, from which on no more are asked for: a server may
keep the beginning of a file back."""
_MAX_OPEN_FILES = 100
"""Files that are open at a time."""

OnDigest = Callable[[bytes, bytes], None]
"""Hears a path and the SHA-256 of the file there."""


def idle_timeout_for(remote: Server, files: Iterable[CopyFile]) -> float:
    """Seconds that the server may be silent while it makes digests of files."""
    return remote.timeout + sum(file.size for file in files) / _MIN_DIGEST_RATE


def read_again(
    remote: Server, source: str, files: Sequence[CopyFile], on_digest: OnDigest, stop: Stop
) -> None:
    """Read files over SFTP and hand over the SHA-256 of each that has the size that it is to have.

    Raises:
        ListingError: the connection could not be made, or broke off.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    with Connection(remote, stop) as connection:
        _Hasher(connection, on_digest).run(f"{source}/".encode(), files)


class _HashedFile(FileRead):
    """A file on its way."""

    def __init__(self, prefix: bytes, file: CopyFile) -> None:
        super().__init__(path=prefix + file.path, length=file.size, size=file.size)
        self.file = file
        self.early = 0
        """Bytes that came before those in front of them."""
        self._sha256 = hashlib.sha256()
        self._hashed = 0
        self._early: dict[int, bytes] = {}

    def add_data(self, offset: int, data: memoryview) -> None:
        """Add bytes to the digest, each once those before it have come."""
        if offset != self._hashed:
            self._early[offset] = bytes(data)
            self.early += len(data)
            return
        self._add(data)
        while (early := self._early.pop(self._hashed, None)) is not None:
            self.early -= len(early)
            self._add(early)

    def forget(self) -> None:
        """Drop its bytes: it is not the file that was listed."""
        self._early.clear()
        self.early = 0

    def _add(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        self._hashed += len(data)

    @property
    def digest(self) -> bytes | None:
        """Its SHA-256; None if it is not the file that was listed."""
        complete = not self.failed and self._hashed == self.size
        return self._sha256.digest() if complete else None


class _Hasher:
    """Reads files over one connection, and adds what comes to their digests."""

    def __init__(self, connection: Connection, on_digest: OnDigest) -> None:
        self._connection = connection
        self._on_digest = on_digest
        self._early = 0
        self._reader: PipelinedReader[_HashedFile] = PipelinedReader(
            connection, self, most_open=_MAX_OPEN_FILES
        )

    def run(self, prefix: bytes, files: Iterable[CopyFile]) -> None:
        for file in files:
            self._reader.add(_HashedFile(prefix, file))
        self._reader.ask()
        while self._connection.in_flight:
            self._connection.turn()
            self._reader.ask()

    def may_ask(self, length: int) -> bool:
        return self._early < _MAX_EARLY_BYTES

    def data(self, read: _HashedFile, offset: int, data: memoryview) -> None:
        if not read.failed:
            self._early -= read.early
            read.add_data(offset, data)
            self._early += read.early

    def refused(self, read: _HashedFile, length: int, answer: Status) -> None:
        self._early -= read.early
        read.forget()

    def ended(self, read: _HashedFile) -> None:
        if read.digest is not None:
            self._on_digest(read.file.path, read.digest)
