"""Links in the place of folders: what a server's answers mean, and how often it is waited for."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from asynchy.facility import links, sftp_lister
from asynchy.facility.folder_queue import Folder, FolderError, FolderQueue
from asynchy.facility.links import Followed
from asynchy.ssh.sftp.protocol import (
    Answer,
    Attributes,
    Code,
    Handle,
    Limits,
    Name,
    Names,
    PacketType,
    ProtocolError,
    Status,
)

FOLDER = Attributes(0, stat.S_IFDIR | 0o755, 1)
FILE = Attributes(5, stat.S_IFREG | 0o644, 1)
LINK = Attributes(5, stat.S_IFLNK | 0o777, 1)
ABSENT = Status(Code.NO_SUCH_FILE, b"No such file")
CLOSED = Status(Code.PERMISSION_DENIED, b"Permission denied")
UNSUPPORTED = Status(8, b"Operation unsupported")


def pointing(target: bytes) -> Names:
    return Names((Name(target, Attributes()),))


class Server:
    """Answers questions about paths, all that were asked in one turn; a connection to itself."""

    limits = Limits(0, 0, 0, 0)

    def __init__(self, told: dict[tuple[PacketType, bytes], Answer]) -> None:
        """`told`: the answers; nothing else is there."""
        self._told = told
        self._asked: list[tuple[bytes, Callable[[Answer], None]]] = []
        self.turns = 0

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def ask(self, request: Callable[[int], bytes], then: Callable[[Answer], None]) -> None:
        self._asked.append((request(0), then))

    def turn(self) -> None:
        self.turns += 1
        asked, self._asked = self._asked, []
        for packet, then in reversed(asked):  # answers may overtake one another
            kind, _, length = struct.unpack_from(">BII", packet, 4)
            then(self._told.get((PacketType(kind), packet[13 : 13 + length]), ABSENT))

    def run(self) -> None:
        while self._asked:
            self.turn()


def followed(behind: Answer, own: Answer) -> Followed:
    path = b"/data/mx/1a"
    server = Server({(PacketType.STAT, path): behind, (PacketType.READLINK, path): own})
    return links._follow_links(server, "/data/mx", [b"1a"])[b"1a"]  # type: ignore[arg-type]


TO_X = "it is a symbolic link to x"


@pytest.mark.parametrize(
    ("behind", "own", "target", "problem"),
    [
        (FOLDER, pointing(b"x"), "x", None),
        (FOLDER, UNSUPPORTED, None, None),
        (FILE, pointing(b"x"), "x", f"{TO_X}, which is not a folder"),
        (ABSENT, pointing(b"x"), "x", f"{TO_X}, which does not exist, or leads in a circle"),
        (
            ABSENT,
            UNSUPPORTED,
            None,
            "it is a symbolic link, which does not exist, or leads in a circle",
        ),
        (CLOSED, pointing(b"x"), "x", f"{TO_X}, which may not be read (EACCES)"),
        (UNSUPPORTED, pointing(b"x"), "x", f"{TO_X}, which cannot be followed: Operation unsupported (8)"),
        (Attributes(), pointing(b"x"), "x", f"{TO_X}, whose kind the server does not report"),
        (FOLDER, pointing(b"\x1b[31m\xff"), "\\x1b[31m\\xff", None),
        (FOLDER, Names(()), None, None),
    ],
)  # fmt: skip
def test_where_a_link_leads_is_told_with_its_target(
    behind: Answer, own: Answer, target: str | None, problem: str | None
) -> None:
    assert followed(behind, own) == Followed(target, problem)


def test_an_answer_of_another_kind_is_the_server_s_fault() -> None:
    with pytest.raises(ProtocolError, match="Handle in answer to STAT"):
        followed(Handle(b"h"), pointing(b"x"))


@pytest.mark.parametrize(("count", "turns"), [(1000, 1), (1001, 2)])
def test_a_thousand_links_of_a_folder_are_followed_in_one_turn(count: int, turns: int) -> None:
    names = [b"%da" % number for number in range(count)]
    server = Server({(PacketType.STAT, b"/data/" + name): FOLDER for name in names[::2]})
    found = links._follow_links(server, "/data", names)  # type: ignore[arg-type]
    assert [name for name in names if found[name].problem is None] == names[::2]
    assert server.turns == turns


class Heard:
    def __init__(self) -> None:
        self.refused: list[FolderError] = []

    def enters(self, path: bytes) -> bool:
        raise AssertionError

    top = entries = ended = enters  # type: ignore[assignment]

    def failed(self, folder: Folder, refused: FolderError) -> None:
        self.refused.append(refused)


ROOT = b"/data/mx/1a"


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ({}, FolderError("there is no such folder", absent=True)),
        (
            {(PacketType.LSTAT, b"/data"): FOLDER, (PacketType.STAT, b"/data"): FOLDER},
            FolderError("there is no such folder", absent=True),
        ),
        (
            {(PacketType.LSTAT, b"/data/mx"): LINK, (PacketType.STAT, b"/data/mx"): FOLDER},
            FolderError("there is no such folder", absent=True),
        ),
        (
            {(PacketType.LSTAT, ROOT): FILE, (PacketType.STAT, ROOT): FILE},
            FolderError("it is not a folder", replaced=True),
        ),
        (
            {(PacketType.LSTAT, ROOT): CLOSED},
            FolderError("it may not be read (EACCES)", replaced=True),
        ),
        (
            {(PacketType.LSTAT, ROOT): FOLDER, (PacketType.STAT, ROOT): FOLDER},
            FolderError("it was not there a moment ago", replaced=True),
        ),
        (
            {(PacketType.LSTAT, ROOT): LINK, (PacketType.READLINK, ROOT): pointing(b"x")},
            FolderError(f"{TO_X}, which does not exist, or leads in a circle", replaced=True),
        ),
        (
            {
                (PacketType.LSTAT, b"/data/mx"): LINK,
                (PacketType.READLINK, b"/data/mx"): pointing(b"x"),
            },
            FolderError(
                f"because of /data/mx: {TO_X}, which does not exist, or leads in a circle",
                replaced=True,
            ),
        ),
        (
            {(PacketType.LSTAT, ROOT): UNSUPPORTED},
            FolderError(
                "the server does not report whether it exists: Operation unsupported", replaced=True
            ),
        ),
    ],
)
def test_a_tree_is_absent_only_if_nothing_is_in_its_place(
    told: dict[tuple[PacketType, bytes], Answer], refused: FolderError
) -> None:
    server, heard = Server(told), Heard()
    queue = FolderQueue(iter([Folder(0, ROOT)]), 10**6)
    sftp_lister._Lister(server, queue, heard, dot_files=False).run()  # type: ignore[arg-type]
    assert [replace(found, alone=False) for found in heard.refused] == [refused]
    assert server.turns == 2  # the folder, and all there is to know of it
