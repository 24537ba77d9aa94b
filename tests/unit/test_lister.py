"""How often a listing waits for the server, with one that answers all questions at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest

from asynchy.facility import sftp_lister
from asynchy.facility.folder_queue import Folder, FolderError, FolderQueue
from asynchy.model.experiment import Entry
from asynchy.ssh.sftp.protocol import (
    Answer,
    Attributes,
    Code,
    Handle,
    Limits,
    Name,
    Names,
    PacketType,
    Status,
)

A_FOLDER, A_FILE = Attributes(0, 0o040755, 1), Attributes(5, 0o100644, 1)
A_PAGE = 100


class Server:
    """Takes what was asked, and answers all of it in one turn; a connection to itself."""

    limits = Limits(0, 0, 0, 0)

    def __init__(self, tree: dict[bytes, int]) -> None:
        """`tree`: how many files are in each folder."""
        self._tree = tree
        self._asked: list[tuple[bytes, Callable[[Answer], None]]] = []
        self._told: dict[bytes, int] = {}
        self.turns = 0
        self.questions: list[PacketType] = []

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def ask(self, request: Callable[[int], bytes], then: Callable[[Answer], None]) -> None:
        self._asked.append((request(0), then))

    def turn(self) -> None:
        self.turns += 1
        asked, self._asked = self._asked, []
        for packet, then in asked:
            then(self._answer(packet))

    def _answer(self, packet: bytes) -> Answer:
        kind, _, length = struct.unpack_from(">BII", packet, 4)
        text = packet[13 : 13 + length]
        self.questions.append(PacketType(kind))
        if kind == PacketType.OPENDIR:
            self._told[text] = 0
            return Handle(text)
        if kind == PacketType.CLOSE:
            return Status(Code.OK, b"")
        all_of_it = self._names(text)
        page = all_of_it[self._told[text] : self._told[text] + A_PAGE]
        self._told[text] += len(page)
        return Names(tuple(page)) if page else Status(Code.EOF, b"")

    def _names(self, folder: bytes) -> list[Name]:
        below = [path for path in self._tree if path.rpartition(b"/")[0] == folder]
        folders = [Name(path.rpartition(b"/")[2], A_FOLDER) for path in below]
        return folders + [Name(b"f%d" % at, A_FILE) for at in range(self._tree[folder])]


class Heard:
    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.ends = 0

    def enters(self, path: bytes) -> bool:
        return True

    def top(self, folder: Folder, entry: Entry) -> None:
        raise AssertionError

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        self.names += [entry.path for entry in entries]

    def ended(self, folder: Folder) -> None:
        self.ends += 1

    def failed(self, folder: Folder, refused: FolderError) -> None:
        raise AssertionError(refused)


def listed(server: Server) -> Heard:
    heard = Heard()
    queue = FolderQueue(iter([Folder(0, b"/top")]), 10**6)
    sftp_lister._Lister(server, queue, heard, dot_files=False).run()  # type: ignore[arg-type]
    return heard


def test_each_level_takes_two_turns() -> None:
    server = Server({b"/top": 3, **{b"/top/run_%d" % at: 50 for at in range(40)}})
    heard = listed(server)
    assert len(set(heard.names)) == len(heard.names) == 3 + 40 + 40 * 50
    assert heard.ends == 41
    assert server.turns == 4  # open and read the top, open and read what is in it
    assert server.questions.count(PacketType.READDIR) == 2 * 41  # its entries, and its end


@pytest.mark.parametrize(("files", "turns"), [(100, 2), (101, 3), (1000, 4), (6400, 7)])
def test_a_large_folder_takes_few_turns(files: int, turns: int) -> None:
    server = Server({b"/top": files})
    assert len(set(listed(server).names)) == files
    assert server.turns == turns
