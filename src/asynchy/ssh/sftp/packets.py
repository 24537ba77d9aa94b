"""SFTP version 3 as bytes: requests out, answers in. No I/O.

draft-ietf-secsh-filexfer-02 for the protocol, OpenSSH's PROTOCOL (section 4.8) for
limits@openssh.com. Only what reading needs is here: nothing is ever written at the facility.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

VERSION = 3
LIMITS = b"limits@openssh.com"

LARGEST = 1 << 20
"""Bytes of the largest answer that is taken. The draft wants at least 34,000 to be understood;
OpenSSH sends 256 KiB at most."""

_HEAD = struct.Struct(">I")
_READ = struct.Struct(">QI")


class ProtocolError(ValueError):
    """The server sent something that is no SFTP."""


class Kind(IntEnum):
    """Types of packets, by the draft's numbers."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    LSTAT = 7
    OPENDIR = 11
    READDIR = 12
    REALPATH = 16
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """What a STATUS says, as far as it matters here."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4


@dataclass(frozen=True)
class Attributes:
    """What is told of a file; None where it is not told."""

    size: int | None = None
    mode: int | None = None
    modified: int | None = None
    """Seconds since 1970 in UTC; an unsigned 32-bit number in this version of the protocol."""


@dataclass(frozen=True)
class Hello:
    """The server's first packet: its version and extensions."""

    version: int
    extensions: dict[bytes, bytes]


@dataclass(frozen=True)
class Status:
    """How a request ended: all of OPEN, OPENDIR, READ and READDIR can end so."""

    code: int
    message: bytes


@dataclass(frozen=True)
class Handle:
    """An open file or folder."""

    handle: bytes


@dataclass(frozen=True)
class Data:
    """Bytes of a file."""

    data: memoryview


@dataclass(frozen=True)
class Name:
    """One entry of a folder."""

    name: bytes
    attributes: Attributes


@dataclass(frozen=True)
class Names:
    """Some entries of a folder."""

    names: tuple[Name, ...]


@dataclass(frozen=True)
class Limits:
    """limits@openssh.com: what the server takes at most; 0 means that it does not say."""

    packet: int
    read: int
    write: int
    handles: int


@dataclass(frozen=True)
class Reply:
    """The body of an EXTENDED_REPLY."""

    body: bytes


Answer: TypeAlias = Status | Handle | Data | Names | Attributes | Reply


def init() -> bytes:
    """The first packet of a connection."""
    return _packet(bytes([Kind.INIT]) + _HEAD.pack(VERSION))


def open_file(number: int, path: bytes) -> bytes:
    """Open a file for reading."""
    return _request(Kind.OPEN, number, _string(path) + _HEAD.pack(1) + _HEAD.pack(0))


def read(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """Read so many bytes at an offset; the answer may hold fewer."""
    return _request(Kind.READ, number, _string(handle) + _READ.pack(offset, length))


def close(number: int, handle: bytes) -> bytes:
    """Close a file or a folder."""
    return _request(Kind.CLOSE, number, _string(handle))


def lstat(number: int, path: bytes) -> bytes:
    """Ask for the attributes of a path, symbolic links not followed."""
    return _request(Kind.LSTAT, number, _string(path))


def open_folder(number: int, path: bytes) -> bytes:
    """Open a folder for listing."""
    return _request(Kind.OPENDIR, number, _string(path))


def read_folder(number: int, handle: bytes) -> bytes:
    """Ask for the next entries of a folder."""
    return _request(Kind.READDIR, number, _string(handle))


def real_path(number: int, path: bytes) -> bytes:
    """Ask for the absolute path of a path."""
    return _request(Kind.REALPATH, number, _string(path))


def extended(number: int, name: bytes) -> bytes:
    """An extension's request that has no arguments."""
    return _request(Kind.EXTENDED, number, _string(name))


def _request(kind: Kind, number: int, body: bytes) -> bytes:
    return _packet(bytes([kind]) + _HEAD.pack(number) + body)


def _packet(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload)) + payload


def _string(text: bytes) -> bytes:
    return _HEAD.pack(len(text)) + text


class Framer:
    """A stream of bytes into the payloads of its packets."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take what was read; the packets that are whole now.

        Raises:
            ProtocolError: a packet is empty, or larger than it may be.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= 4:
                (length,) = _HEAD.unpack_from(buffer, at)
                if not 1 <= length <= self._largest:
                    raise ProtocolError(f"a packet of {length:,} bytes")
                if len(buffer) - at - 4 < length:
                    break
                yield bytes(memoryview(buffer)[at + 4 : at + 4 + length])
                at += 4 + length
        finally:
            del buffer[:at]


def parse_hello(payload: bytes) -> Hello:
    """The answer to `init`.

    Raises:
        ProtocolError: it is something else, or of a version that we do not speak.
    """
    fields = _Fields(payload)
    kind, version = fields.byte(), fields.number()
    if kind != Kind.VERSION or version < VERSION:
        raise ProtocolError(f"no SFTP of version {VERSION}: packet {kind}, version {version}")
    extensions = {}
    while fields.left:
        name = fields.string()
        extensions[name] = fields.string()
    return Hello(version, extensions)


def parse_answer(payload: bytes) -> tuple[int, Answer]:
    """The number of the request that a packet answers, and the answer.

    Raises:
        ProtocolError: it is none.
    """
    fields = _Fields(payload)
    kind, number = fields.byte(), fields.number()
    parser = _PARSERS.get(kind)
    if parser is None:
        raise ProtocolError(f"a packet of the unknown type {kind}")
    answer = parser(fields)
    # A STATUS may end early or go on with a language tag; every other packet is used up.
    if fields.left and kind not in (Kind.STATUS, Kind.EXTENDED_REPLY):
        raise ProtocolError(f"{fields.left} bytes too many in a packet of type {kind}")
    return number, answer


def parse_limits(body: bytes) -> Limits:
    """The answer to limits@openssh.com.

    Raises:
        ProtocolError: it is something else.
    """
    fields = _Fields(body)
    return Limits(fields.long(), fields.long(), fields.long(), fields.long())


class _Fields:
    """The fields of a payload, taken one after the other."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._payload) - self._at

    def take(self, count: int) -> int:
        """The place of the next so many bytes."""
        at = self._at
        if count > len(self._payload) - at:
            raise ProtocolError("a packet that ends too early")
        self._at = at + count
        return at

    def byte(self) -> int:
        return self._payload[self.take(1)]

    def number(self) -> int:
        at = self.take(4)
        return int.from_bytes(self._payload[at : at + 4])

    def long(self) -> int:
        at = self.take(8)
        return int.from_bytes(self._payload[at : at + 8])

    def string(self) -> bytes:
        length = self.number()
        at = self.take(length)
        return self._payload[at : at + length]

    def view(self) -> memoryview:
        length = self.number()
        at = self.take(length)
        return memoryview(self._payload)[at : at + length]

    def rest(self) -> bytes:
        at = self.take(self.left)
        return self._payload[at:]


def _status(fields: _Fields) -> Status:
    code = fields.number()
    return Status(code, fields.string() if fields.left else b"")


def _names(fields: _Fields) -> Names:
    count = fields.number()
    if count * 12 > fields.left:  # the least that an entry takes
        raise ProtocolError(f"{count:,} entries in a packet of {fields.left:,} bytes")
    found = []
    for _ in range(count):
        name = fields.string()
        fields.string()  # the line that `ls -l` would print; for people
        found.append(Name(name, _attributes(fields)))
    return Names(tuple(found))


def _attributes(fields: _Fields) -> Attributes:
    """Section 5 of the draft: what is there is told by flags."""
    flags = fields.number()
    if flags & ~0x8000000F:
        raise ProtocolError(f"unknown attributes {flags:#x}")
    size = fields.long() if flags & 1 else None
    if flags & 2:
        fields.take(8)  # user and group
    mode = fields.number() if flags & 4 else None
    modified = None
    if flags & 8:
        fields.take(4)  # when it was last read
        modified = fields.number()
    if flags & 0x80000000:
        for _ in range(fields.number()):
            fields.string()
            fields.string()
    return Attributes(size, mode, modified)


_PARSERS: dict[int, Callable[[_Fields], Answer]] = {
    Kind.STATUS: _status,
    Kind.HANDLE: lambda fields: Handle(fields.string()),
    Kind.DATA: lambda fields: Data(fields.view()),
    Kind.NAME: _names,
    Kind.ATTRS: _attributes,
    Kind.EXTENDED_REPLY: lambda fields: Reply(fields.rest()),
}
