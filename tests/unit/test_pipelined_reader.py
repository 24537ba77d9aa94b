"""Files read over a connection, against a server that answers in ways of its own."""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.ssh.sftp.pipelined_reader import FileRead, PipelinedReader
from asynchy.ssh.sftp.protocol import (
    Answer,
    Code,
    Data,
    Handle,
    Limits,
    ProtocolError,
    Status,
)

OPEN, CLOSE, READ = 3, 4, 5


class FakeConnection:
    """A connection to a server with some files; answers come in the order of the requests."""

    def __init__(
        self, files: dict[bytes, bytes], *, handles: int = 100, most: int = 1 << 18, spare: int = 0
    ) -> None:
        self.limits = Limits(0, 0, 0, spare)
        self._files = files
        self._handles = handles
        self._most = most
        self._asked: deque[tuple[bytes, Callable[[Answer], None]]] = deque()
        self.opened: set[bytes] = set()
        self.most_opened = 0

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def ask(self, request: Callable[[int], bytes], then: Callable[[Answer], None]) -> None:
        self._asked.append((request(1)[4:], then))

    def turn(self) -> None:
        payload, then = self._asked.popleft()
        then(self._answer(payload))

    def _answer(self, payload: bytes) -> Answer:
        (length,) = struct.unpack(">I", payload[5:9])
        name, rest = payload[9 : 9 + length], payload[9 + length :]
        if payload[0] == CLOSE:
            self.opened.remove(name)
            return Status(Code.OK, b"")
        if payload[0] == OPEN:
            if name not in self._files:
                return Status(Code.NO_SUCH_FILE, b"")
            if len(self.opened) == self._handles:
                return Status(Code.FAILURE, b"Failure")
            self.opened.add(name)
            self.most_opened = max(self.most_opened, len(self.opened))
            return Handle(name)
        offset, wanted = struct.unpack(">QI", rest)
        found = self._files[name][offset : offset + min(wanted, self._most)]
        return Data(memoryview(found)) if found else Status(Code.EOF, b"")


class Kept:
    """What was read, and what was said of it."""

    def __init__(self) -> None:
        self.parts: dict[bytes, dict[int, bytes]] = {}
        self.faults: dict[bytes, Code | int] = {}
        self.ends: list[bytes] = []

    def may_ask(self, length: int) -> bool:
        return True

    def data(self, read: FileRead, offset: int, data: memoryview) -> None:
        self.parts.setdefault(read.path, {})[offset] = bytes(data)

    def refused(self, read: FileRead, length: int, answer: Status) -> None:
        self.faults[read.path] = answer.code

    def ended(self, read: FileRead) -> None:
        self.ends.append(read.path)

    def whole(self, path: bytes) -> bytes:
        return b"".join(part for _, part in sorted(self.parts.get(path, {}).items()))


def read_all(connection: FakeConnection, *reads: FileRead, most_open: int = 100) -> Kept:
    kept = Kept()
    reader: PipelinedReader[FileRead] = PipelinedReader(
        connection,  # type: ignore[arg-type]
        kept,
        most_open=most_open,
    )
    for read in reads:
        reader.add(read)
    reader.ask()
    while connection.in_flight:
        connection.turn()
        reader.ask()
    assert reader.idle
    assert not reader.in_flight
    assert not connection.opened
    return kept


def listed(path: bytes, size: int, offset: int = 0, length: int | None = None) -> FileRead:
    return FileRead(path=path, offset=offset, length=size if length is None else length, size=size)


@pytest.mark.parametrize("size", [0, 1, 4095, 255 << 10, (255 << 10) + 1, 1 << 20])
@pytest.mark.parametrize("most", [1000, 1 << 18])
def test_a_file_comes_whole_also_from_a_server_that_sends_little_at_a_time(
    size: int, most: int
) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    kept = read_all(FakeConnection({b"/a": data}, most=most), listed(b"/a", size))
    assert (kept.whole(b"/a"), kept.faults, kept.ends) == (data, {}, [b"/a"])


@pytest.mark.parametrize("there", [0, 99, 101, 300_000])
def test_a_file_of_another_size_than_listed_is_refused(there: int) -> None:
    kept = read_all(FakeConnection({b"/a": b"x" * there}), listed(b"/a", 100))
    assert (kept.faults, kept.ends) == ({b"/a": Code.EOF}, [b"/a"])


def test_a_range_of_a_file_is_that_range() -> None:
    data = bytes(range(256)) * 4096
    read = listed(b"/a", len(data), offset=300_000, length=400_000)
    kept = read_all(FakeConnection({b"/a": data}), read)
    assert (kept.whole(b"/a"), kept.faults) == (data[300_000:700_000], {})


@pytest.mark.parametrize("most", [3, 1000, 1 << 18])
def test_a_file_whose_size_is_not_known_may_be_shorter_than_what_is_wanted(most: int) -> None:
    files = {b"/a": b"short", b"/b": b"", b"/c": b"y" * 9000}
    reads = [FileRead(path=path, length=4096) for path in files]
    kept = read_all(FakeConnection(files, most=most), *reads)
    assert [kept.whole(path) for path in files] == [b"short", b"", b"y" * 4096]
    assert (kept.faults, sorted(kept.ends)) == ({}, sorted(files))


def test_a_file_that_is_not_there_costs_no_other() -> None:
    kept = read_all(FakeConnection({b"/b": b"there"}), listed(b"/a", 5), listed(b"/b", 5))
    assert (kept.faults, kept.ends) == ({b"/a": Code.NO_SUCH_FILE}, [b"/a", b"/b"])
    assert kept.whole(b"/b") == b"there"


def test_a_server_with_few_handles_is_asked_again_for_what_it_could_not_open() -> None:
    files = {b"/%d" % number: b"%d" % number for number in range(50)}
    connection = FakeConnection(files, handles=3)
    kept = read_all(connection, *(listed(path, len(data)) for path, data in files.items()))
    assert {path: kept.whole(path) for path in files} == files
    assert (kept.faults, connection.most_opened) == ({}, 3)


class Shuffled(FakeConnection):
    """A server with several threads: it takes requests, and answers them, in any order."""

    def __init__(self, files: dict[bytes, bytes], *, handles: int, seed: int) -> None:
        super().__init__(files, handles=handles)
        self._draw = random.Random(seed)
        self._answered: list[tuple[Answer, Callable[[Answer], None]]] = []

    @property
    def in_flight(self) -> int:
        return len(self._asked) + len(self._answered)

    def turn(self) -> None:
        if self._asked and (not self._answered or self._draw.random() < 0.5):
            self._asked.rotate(self._draw.randrange(len(self._asked)))
            payload, then = self._asked.popleft()
            self._answered.append((self._answer(payload), then))
            return
        answer, then = self._answered.pop(self._draw.randrange(len(self._answered)))
        then(answer)


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 1 << 16))
def test_server_with_few_handles_and_answers_in_any_order_gives_all_files(
    handles: int, number: int, seed: int
) -> None:
    files = {b"/%d" % n: b"%d" % n * (n % 7 * 1000) for n in range(number)}
    connection = Shuffled(files, handles=handles, seed=seed)
    kept = read_all(connection, *(listed(path, len(data)) for path, data in files.items()))
    assert {path: kept.whole(path) for path in files} == files
    assert (kept.faults, sorted(kept.ends)) == ({}, sorted(files))


def test_file_that_a_server_fails_to_open_costs_no_other_also_with_few_handles() -> None:
    class Failing(FakeConnection):
        def _answer(self, payload: bytes) -> Answer:
            if payload[0] == OPEN and payload.count(b"/3"):
                return Status(Code.FAILURE, b"Failure")
            return super()._answer(payload)

    files = {b"/%d" % number: b"%d" % number for number in range(9)}
    kept = read_all(
        Failing(files, handles=2), *(listed(path, len(data)) for path, data in files.items())
    )
    del files[b"/3"]
    assert {path: kept.whole(path) for path in files} == files
    assert kept.faults == {b"/3": Code.FAILURE}
    assert sorted(kept.ends) == sorted([*files, b"/3"])


def test_a_server_that_says_how_many_handles_it_has_keeps_some_to_itself() -> None:
    files = {b"/%d" % number: b"x" for number in range(50)}
    connection = FakeConnection(files, spare=10)
    read_all(connection, *(listed(path, 1) for path in files))
    assert connection.most_opened == 6


def test_an_answer_longer_than_what_was_asked_for_is_an_error() -> None:
    class Generous(FakeConnection):
        def _answer(self, payload: bytes) -> Answer:
            answer = super()._answer(payload)
            return Data(memoryview(b"z" * 200)) if isinstance(answer, Data) else answer

    with pytest.raises(ProtocolError, match="200 bytes where 100 were asked for"):
        read_all(Generous({b"/a": b"x" * 100}), listed(b"/a", 100))
