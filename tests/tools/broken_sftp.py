#!/usr/bin/env python3
"""An SFTP server that serves files as they are, and for some experiments breaks the protocol.

sshd runs it as its subsystem: `broken_sftp.py`. An experiment's folder may hold a file `.scenario`,
which says what goes wrong with it, and at what: `listing: stall`, `reading: 4 GiB`. It shares no
code with ours.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

INIT, OPEN, CLOSE, READ, LSTAT, OPENDIR, READDIR, REALPATH, EXTENDED = (
    1,
    3,
    4,
    5,
    7,
    11,
    12,
    16,
    200,
)
VERSION, STATUS, HANDLE, DATA, NAME, ATTRS, REPLY = 2, 101, 102, 103, 104, 105, 201
OK, EOF, NO_SUCH_FILE, DENIED, FAILURE = range(5)
WHEN = {"listing": (OPENDIR, READDIR), "reading": (OPEN, READ, CLOSE)}


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def string(text: bytes) -> bytes:
    return u32(len(text)) + text


def packet(kind: int, number: int, body: bytes) -> bytes:
    return bytes([kind]) + u32(number) + body


def status(number: int, code: int, words: bytes = b"so it is") -> bytes:
    return packet(STATUS, number, u32(code) + string(words) + string(b""))


def attributes(found: os.stat_result) -> bytes:
    times = u32(found.st_atime_ns // 10**9) + u32(found.st_mtime_ns // 10**9)
    return u32(1 | 4 | 8) + struct.pack(">Q", found.st_size) + u32(found.st_mode) + times


def name(text: bytes, told: bytes) -> bytes:
    return string(text) + string(b"-rw-r--r-- " + text) + told


A_FILE = u32(1 | 4 | 8) + struct.pack(">Q", 7) + u32(0o100644) + u32(5) + u32(1_500_000_000)


class Server:
    def __init__(self) -> None:
        self.files: dict[bytes, int] = {}
        self.folders: dict[bytes, list[bytes]] = {}
        self.paths: dict[bytes, bytes] = {}
        self.scenarios: dict[bytes, tuple[str, str]] = {}
        self.made = 0
        self.late: list[bytes] = []
        """Answers that wait until nothing more is asked, to be sent the last one first."""

    # What an honest server does.

    def answer(self, kind: int, number: int, body: bytes) -> bytes:
        length = struct.unpack(">I", body[:4])[0]
        text, rest = body[4 : 4 + length], body[4 + length :]
        try:
            return self.honest(kind, number, text, rest)
        except FileNotFoundError:
            return status(number, NO_SUCH_FILE)
        except OSError as error:
            return status(number, FAILURE, str(error).encode())

    def honest(self, kind: int, number: int, text: bytes, rest: bytes) -> bytes:
        if kind == EXTENDED:
            return packet(REPLY, number, struct.pack(">QQQQ", 262144, 261120, 261120, 1019))
        if kind == REALPATH:
            return packet(NAME, number, u32(1) + name(b"/", A_FILE))
        if kind == LSTAT:
            return packet(ATTRS, number, attributes(os.lstat(text)))
        if kind in (OPEN, OPENDIR):
            return packet(HANDLE, number, string(self.open(kind, text)))
        if kind == READDIR:
            return self.read_folder(number, text)
        if kind == READ:
            offset, length = struct.unpack(">QI", rest)
            data = os.pread(self.files[text], min(length, 261120), offset)
            return packet(DATA, number, string(data)) if data else status(number, EOF)
        if kind == CLOSE:
            if text in self.files:
                os.close(self.files.pop(text))
            return status(number, OK)
        raise OSError(f"no request {kind}")

    def open(self, kind: int, path: bytes) -> bytes:
        self.made += 1
        handle = b"%d" % self.made
        self.paths[handle] = path
        if kind == OPEN:
            self.files[handle] = os.open(path, os.O_RDONLY)
        else:
            self.folders[handle] = [b".", b"..", *os.listdir(path)]
        return handle

    def read_folder(self, number: int, handle: bytes) -> bytes:
        left, path = self.folders[handle], self.paths[handle]
        if not left:
            return status(number, EOF)
        some, left[:] = left[:100], left[100:]
        told = [name(one, attributes(os.lstat(path + b"/" + one))) for one in some]
        return packet(NAME, number, u32(len(told)) + b"".join(told))

    # What this one does.

    def scenario(self, kind: int, body: bytes) -> str:
        """What goes wrong with the answer to a request; empty where nothing does."""
        if kind in (INIT, REALPATH, EXTENDED):
            return ""
        text = body[4 : 4 + struct.unpack(">I", body[:4])[0]]
        if kind == CLOSE and text in self.folders:
            return ""
        when, what = self.scenario_of(self.paths.get(text, text))
        return what if kind in WHEN.get(when, ()) else ""

    def scenario_of(self, path: bytes) -> tuple[str, str]:
        parts = path.split(b"/")
        for count in range(len(parts), 1, -1):
            folder = b"/".join(parts[:count])
            if folder not in self.scenarios:
                try:
                    text = Path(os.fsdecode(folder), ".scenario").read_text()
                    when, _, what = text.partition(": ")
                    self.scenarios[folder] = (when, what)
                except OSError:
                    continue
            return self.scenarios[folder]
        return "", ""

    def serve(self) -> None:
        while True:
            if self.late and not select.select([0], [], [], 0.02)[0]:
                for answer in reversed(self.late):
                    self.send(answer)
                self.late.clear()
            request = self.exactly(struct.unpack(">I", self.exactly(4))[0])
            kind = request[0]
            if kind == INIT:
                self.send(bytes([VERSION]) + u32(3) + string(b"limits@openssh.com") + string(b"1"))
                continue
            number, body = struct.unpack(">I", request[1:5])[0], request[5:]
            what = self.scenario(kind, body)
            answer = self.answer(kind, number, body)
            spoil = SCENARIOS[what] if what else None
            if spoil is None or not spoil(self, kind, number, answer):
                self.send(answer)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.read(0, count - len(data))
            if not more:
                sys.exit(0)
            data += more
        return data

    def send(self, payload: bytes) -> None:
        self.write(u32(len(payload)) + payload)

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            sys.exit(0)

    def stand_still(self) -> None:
        while os.read(0, 1 << 16):
            pass
        sys.exit(0)


Spoil = Callable[[Server, int, int, bytes], object]
"""Does something instead of sending an answer; a false value: the answer is sent, too."""
SCENARIOS: dict[str, Spoil] = {}


def scenario(what: str) -> Callable[[Spoil], Spoil]:
    def add(spoil: Spoil) -> Spoil:
        SCENARIOS[what] = spoil
        return spoil

    return add


@scenario("4 GiB")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.write(u32(0xFFFFFFFF) + answer)
    while True:
        server.write(b"x" * 65536)


@scenario("empty packet")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    return server.write(u32(0))


@scenario("cut off")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.write(u32(len(answer)) + answer[: len(answer) // 2])
    sys.exit(1)


@scenario("stall")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.write(u32(len(answer)) + answer[: len(answer) // 2])
    return server.stand_still()


@scenario("byte by byte")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    for byte in u32(60_000) + bytes(60_000):
        server.write(bytes([byte]))
        time.sleep(0.1)
    return True


@scenario("twice")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    return server.send(answer)


@scenario("out of order")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.late.append(answer)
    return True


@scenario("stranger")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    return server.send(status(number ^ 0x7FFFFFFF, OK))


@scenario("wrong type")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.send(packet(ATTRS, number, A_FILE))
    return True


@scenario("unknown type")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.send(packet(77, number, b"?"))
    return True


@scenario("long string")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.send(answer[:5] + u32(0xFFFFFFFF) + answer[5:])
    return True


@scenario("too many names")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind == READDIR:
        server.send(packet(NAME, number, u32(0xFFFFFFFF) + name(b"one", A_FILE)))
    return kind == READDIR


@scenario("many attributes")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind == READDIR:
        told = u32(0x80000000) + u32(0xFFFFFFFF) + bytes(1_000_000)
        server.send(packet(NAME, number, u32(1) + name(b"one", told)))
    return kind == READDIR


@scenario("no names")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind == READDIR:
        server.send(packet(NAME, number, u32(0)))
    return kind == READDIR


@scenario("dot files without end")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind == READDIR:
        told = [name(b".%d" % (100 * number + at), A_FILE) for at in range(100)]
        server.send(packet(NAME, number, u32(100) + b"".join(told)))
    return kind == READDIR


@scenario("long handle")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind in (OPEN, OPENDIR):
        server.send(packet(HANDLE, number, string(b"h" * 1_000_000)))
    return kind in (OPEN, OPENDIR)


@scenario("too much data")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if answer[0] == DATA:
        server.send(packet(DATA, number, string(answer[9:] + bytes(500_000))))
    return answer[0] == DATA


@scenario("no data")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if answer[0] == DATA:
        server.send(packet(DATA, number, string(b"")))
    return answer[0] == DATA


@scenario("data after close")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    if kind == CLOSE:
        server.send(answer)
        server.send(packet(DATA, number, string(b"once more")))
    return kind == CLOSE


@scenario("loud")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    try:
        while True:
            os.write(2, b"\x1b]0;owned\x07\x1b[2J" * 1000)
    except OSError:
        sys.exit(1)


@scenario("long words")
def _(server: Server, kind: int, number: int, answer: bytes) -> object:
    server.send(status(number, 4711, b"\x1b[2Jno\n" * 100_000))
    return True


Server().serve()
