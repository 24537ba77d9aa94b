"""Small files at the facility, read over SFTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asynchy.domain.stop import Stop
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp import kept
from asynchy.ssh.sftp.packets import Answer, Data, Handle, close, open_file, read

_IN_FLIGHT = 100


def read_files(
    remote: Remote, paths: Iterable[bytes], limit: int, stop: Stop
) -> dict[bytes, bytes]:
    """The first `limit` bytes of each file that can be read; the others are left out.

    Raises:
        ListingError: the connection could not be made, or broke off.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh is not installed.
    """
    found: dict[bytes, bytes] = {}
    waiting: Iterator[bytes] = iter(paths)
    with kept.connection(remote, stop) as connection:

        def begin() -> None:
            path = next(waiting, None)
            if path is not None:
                connection.ask(lambda number: open_file(number, path), lambda it: opened(path, it))

        def opened(path: bytes, answer: Answer) -> None:
            if not isinstance(answer, Handle):
                begin()
                return
            handle = answer.handle
            connection.ask(
                lambda number: read(number, handle, 0, limit),
                lambda answer: took(path, handle, answer),
            )

        def took(path: bytes, handle: bytes, answer: Answer) -> None:
            if isinstance(answer, Data):
                found[path] = bytes(answer.data[:limit])
            connection.ask(lambda number: close(number, handle), lambda _answer: None)
            begin()

        for _ in range(_IN_FLIGHT):
            begin()
        connection.run()
    return found
