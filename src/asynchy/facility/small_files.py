"""Small files at the facility, read over SFTP."""

from __future__ import annotations

from collections.abc import Iterable

from asynchy.model.cancellation import Stop
from asynchy.ssh.session import ServerSession
from asynchy.ssh.sftp.pipelined_reader import FileRead, PipelinedReader
from asynchy.ssh.sftp.protocol import Status

_MAX_OPEN_FILES = 100
"""Files that are open at a time."""


def read_files(
    session: ServerSession, paths: Iterable[bytes], limit: int, stop: Stop
) -> dict[bytes, bytes]:
    """The first `limit` bytes of each file that can be read; the others are left out.

    Raises:
        ListingError: the connection could not be made, or broke off.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    sink = _MemorySink()
    with session.connection(stop) as connection:
        reader = PipelinedReader(connection, sink, most_open=_MAX_OPEN_FILES)
        for path in paths:
            reader.add(FileRead(path=path, length=limit))
        reader.ask()
        while connection.in_flight:
            connection.turn()
            reader.ask()
    return {
        path: b"".join(parts[offset] for offset in sorted(parts))
        for path, parts in sink.files.items()
    }


class _MemorySink:
    """Keeps the bytes that were read in memory."""

    def __init__(self) -> None:
        self.files: dict[bytes, dict[int, bytes]] = {}
        """By path, then by the offset of a part: parts may come in any order."""

    def may_ask(self, length: int) -> bool:
        return True

    def data(self, read: FileRead, offset: int, data: memoryview) -> None:
        self.files.setdefault(read.path, {})[offset] = bytes(data)

    def refused(self, read: FileRead, length: int, answer: Status) -> None:
        self.files.pop(read.path, None)

    def ended(self, read: FileRead) -> None:
        pass
