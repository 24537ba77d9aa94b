"""What programs at the facility say of files, understood; and a file that comes in any order."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.facility import sftp_hasher
from asynchy.facility.sftp_hasher import _HashedFile, _Hasher, idle_timeout_for
from asynchy.model.verification import CopyFile
from asynchy.ssh.remote_sha256sum import parse
from asynchy.ssh.rsync.output import parse_compared
from asynchy.ssh.server import Server
from asynchy.ssh.sftp import pipelined_reader
from asynchy.ssh.sftp.protocol import Answer, Code, Data, Handle, Limits, Status

SHA = "00" * 31 + "ff"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"{SHA}  /data/x".encode(), (bytes(31) + b"\xff", b"/data/x")),
        (f"{SHA} */data/new\nline".encode(), (bytes(31) + b"\xff", b"/data/new\nline")),
        (f"{SHA}  \\".encode(), (bytes(31) + b"\xff", b"\\")),
        (f"\\{SHA}  /data/x".encode(), None),  # escaped: not with -z
        (f"{SHA}".encode(), None),
        (f"{SHA}  ".encode(), None),
        (f"{SHA[:-1]}  /data/x".encode(), None),
        (f"{SHA.upper()}  /data/x".encode(), None),
        (b"Welcome to the facility!", None),
        (b"", None),
    ],
)
def test_a_line_of_sha256sum(line: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert parse(line) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (rb".f          a b", (b"a b", True)),
        (rb".f..t...... a", (b"a", True)),
        (rb".f...p..... a", (b"a", True)),
        (rb">fc........ a", (b"a", False)),
        (rb">fcs....... a", (b"a", False)),
        (rb">f..T...... a", (b"a", False)),
        (rb">f+++++++++ a", (b"a", False)),
        (rb".f          d/n\#012l\#134#012", (b"d/n\nl\\#012", True)),
        (rb".d          d/", None),
        (rb"cd+++++++++ d/", None),
        (rb".L          link -> there", None),
        (b'skipping non-regular file "x"', None),
        (b"", None),
    ],
)
def test_a_line_of_itemize_changes(line: bytes, found: tuple[bytes, bool] | None) -> None:
    assert parse_compared(line) == found


@given(st.binary(max_size=100), st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_the_order_in_which_parts_come(
    data: bytes, step: int, chance: object
) -> None:
    parts = [(at, data[at : at + step]) for at in range(0, len(data), step)]
    chance.shuffle(parts)  # type: ignore[attr-defined]
    file = _HashedFile(b"/x/", CopyFile(b"a", len(data), 0, None, datetime.now(UTC), None, None))
    for at, part in parts:
        assert file.digest is None
        file.add_data(at, memoryview(part))
    assert file.digest == hashlib.sha256(data).digest()


class KeepsTheBeginning:
    """A connection to a server that answers the read at offset 0 when nothing else is asked."""

    limits = Limits(0, 1, 0, 0)  # a byte at a time, it says

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[bytes, Callable[[Answer], None]]] = []
        self.begun = False
        self.ahead = 0
        """Bytes that were sent before the first."""

    @property
    def in_flight(self) -> int:
        return len(self.asked)

    def ask(self, request: Callable[[int], bytes], then: Callable[[Answer], None]) -> None:
        self.asked.append((request(1)[4:], then))

    def turn(self) -> None:
        asked = [item for item in self.asked if not self.is_first(item[0])] or self.asked[:]
        self.asked = [item for item in self.asked if item not in asked]
        for payload, then in asked:
            then(self.answer(payload))

    @staticmethod
    def is_first(payload: bytes) -> bool:
        return payload[0] == 5 and struct.unpack(">QI", payload[-12:])[0] == 0

    def answer(self, payload: bytes) -> Answer:
        if payload[0] != 5:
            return Handle(b"h") if payload[0] == 3 else Status(Code.OK, b"")
        offset, length = struct.unpack(">QI", payload[-12:])
        found = self.data[offset : offset + length]
        self.begun = self.begun or not offset
        self.ahead += 0 if self.begun else len(found)
        return Data(memoryview(found)) if found else Status(Code.EOF, b"")


def test_a_server_that_keeps_the_beginning_back_takes_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sftp_hasher, "_MAX_EARLY_BYTES", 1 << 18)
    monkeypatch.setattr(pipelined_reader, "WINDOW_BYTES", 1 << 16)
    data = bytes(range(256)) * (1 << 13)
    connection = KeepsTheBeginning(data)
    found: list[tuple[bytes, bytes]] = []
    file = CopyFile(b"a", len(data), 0, None, datetime.now(UTC), None, None)
    hasher = _Hasher(connection, lambda *it: found.append(it))  # type: ignore[arg-type]
    hasher.run(b"/x/", [file])
    assert found == [(b"a", hashlib.sha256(data).digest())]
    assert 0 < connection.ahead < (1 << 18) + (1 << 17) < len(data)


def test_a_server_may_be_silent_for_as_long_as_digests_take() -> None:
    def file(size: int) -> CopyFile:
        return CopyFile(b"a", size, 0, None, datetime.now(UTC), None, None)

    remote = Server("host", "user", timeout=60)
    assert idle_timeout_for(remote, [file(0)]) == 60
    assert idle_timeout_for(remote, [file(10**9), file(10**9)]) == 160
