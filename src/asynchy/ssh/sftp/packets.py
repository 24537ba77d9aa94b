"""SFTP version 3 as bytes: requests out, answers in. No I/O.

draft-ietf-secsh-filexfer-02 for the protocol, OpenSSH's PROTOCOL (section 4.8) for
limits@openssh.com. Only what reading needs is here: nothing is ever written at the facility.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

VERSION = 3
LIMITS = b"limits@openssh.com"

LARGEST = 1 << 20
"""Bytes of the largest answer that is taken. The draft wants at least 34,000 to be understood;
OpenSSH sends 256 KiB at most."""

_PACKETS = 4
"""Of that size that are taken in before the rest of a packet is moved to the front."""

_LONGEST_HANDLE = 256
"""Bytes of a handle: section 6.3 of the draft. We keep a thousand of them, and send them back."""

_HEAD = struct.Struct(">I")
_READ = struct.Struct(">QI")
_REQUEST = struct.Struct(">IBII")
"""Length of the packet, its type and number, and the length of a text."""
_ANSWER = struct.Struct(">BII")
"""Type and number, and the length of a text or a code."""
_READ_ONLY = _HEAD.pack(1) + _HEAD.pack(0)
"""What a file is opened for (SSH_FXF_READ), and no attributes."""
_ALL_TOLD = 0xF
_ATTRIBUTES = struct.Struct(">IQIIIII")
"""Where all are told: flags, size, user, group, mode, last read, last modified."""


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
    STAT = 17
    READLINK = 19
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


_DATA, _HANDLE, _STATUS = int(Kind.DATA), int(Kind.HANDLE), int(Kind.STATUS)


class Code(IntEnum):
    """What a STATUS says, as far as it matters here."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4


class Attributes(NamedTuple):
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


_PLAIN = {int(code): Status(code, b"") for code in (Code.OK, Code.EOF)}
"""What is said of each file and folder; the words that come along say no more."""


@dataclass(frozen=True)
class Handle:
    """An open file or folder."""

    handle: bytes


@dataclass(frozen=True)
class Data:
    """Bytes of a file; they are to be used at once, for their place is used again."""

    data: memoryview


class Name(NamedTuple):
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


Payload: TypeAlias = bytes | memoryview
Answer: TypeAlias = Status | Handle | Data | Names | Attributes | Reply


def init() -> bytes:
    """The first packet of a connection."""
    return _HEAD.pack(1 + _HEAD.size) + bytes([Kind.INIT]) + _HEAD.pack(VERSION)


def open_file(number: int, path: bytes) -> bytes:
    """Open a file for reading."""
    return _request(Kind.OPEN, number, path, _READ_ONLY)


def read(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """Read so many bytes at an offset; the answer may hold fewer."""
    return _request(Kind.READ, number, handle, _READ.pack(offset, length))


def close(number: int, handle: bytes) -> bytes:
    """Close a file or a folder."""
    return _request(Kind.CLOSE, number, handle)


def lstat(number: int, path: bytes) -> bytes:
    """Ask for the attributes of a path, symbolic links not followed."""
    return _request(Kind.LSTAT, number, path)


def follow(number: int, path: bytes) -> bytes:
    """Ask for the attributes of a path (STAT), symbolic links followed."""
    return _request(Kind.STAT, number, path)


def read_link(number: int, path: bytes) -> bytes:
    """Ask where a symbolic link points to; the answer is one name, without attributes of worth."""
    return _request(Kind.READLINK, number, path)


def open_folder(number: int, path: bytes) -> bytes:
    """Open a folder for listing."""
    return _request(Kind.OPENDIR, number, path)


def read_folder(number: int, handle: bytes) -> bytes:
    """Ask for the next entries of a folder."""
    return _request(Kind.READDIR, number, handle)


def real_path(number: int, path: bytes) -> bytes:
    """Ask for the absolute path of a path."""
    return _request(Kind.REALPATH, number, path)


def extended(number: int, name: bytes) -> bytes:
    """An extension's request that has no arguments."""
    return _request(Kind.EXTENDED, number, name)


def _request(kind: Kind, number: int, text: bytes, rest: bytes = b"") -> bytes:
    length = _ANSWER.size + len(text) + len(rest)
    return _REQUEST.pack(length, kind, number, len(text)) + text + rest


class Framer:
    """A stream of bytes into the payloads of its packets, copied as little as possible.

    Read into `space`, then tell `filled` how much; `feed` does both for bytes that are there.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        # Several packets, so that the rest of one that was cut seldom has to be moved to the front.
        self._buffer = memoryview(bytearray(_PACKETS * (largest + _HEAD.size)))
        self._begin = self._end = 0

    def space(self) -> memoryview:
        """Where the next bytes are to be written; what `filled` yielded before is lost by that."""
        if len(self._buffer) - self._begin < self._largest + _HEAD.size:
            rest = self._end - self._begin
            self._buffer[:rest] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, rest
        return self._buffer[self._end :]

    def filled(self, count: int) -> Iterator[memoryview]:
        """The packets that are whole, now that so many bytes were written.

        Raises:
            ProtocolError: a packet is empty, or larger than it may be.
        """
        self._end += count
        while self._end - self._begin >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._buffer, self._begin)
            if not 1 <= length <= self._largest:
                raise ProtocolError(f"a packet of {length:,} bytes")
            begin = self._begin + _HEAD.size
            if self._end - begin < length:
                return
            self._begin = begin + length
            yield self._buffer[begin : begin + length]
        if self._begin == self._end:
            self._begin = self._end = 0

    def text(self) -> bytes:
        """What has come and is no packet, but text; nothing otherwise.

        A packet begins with a zero: the first byte of its length.
        """
        found = bytes(self._buffer[self._begin : self._end])
        return found.partition(b"\0")[0]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that are whole, now that these bytes came.

        Raises:
            ProtocolError: a packet is empty, or larger than it may be.
        """
        while data:
            space = self.space()
            taken = min(len(space), len(data))
            space[:taken] = data[:taken]
            data = data[taken:]
            for payload in self.filled(taken):
                yield bytes(payload)


def is_failure(answer: Answer) -> bool:
    """Whether it says that something failed and not what: it may be out of handles."""
    return isinstance(answer, Status) and answer.code == Code.FAILURE


def parse_hello(payload: Payload) -> Hello:
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


def parse_answer(payload: Payload) -> tuple[int, Answer]:
    """The number of the request that a packet answers, and the answer.

    Raises:
        ProtocolError: it is none.
    """
    if len(payload) >= _ANSWER.size:  # what nearly always comes is taken at one go
        kind, number, told = _ANSWER.unpack_from(payload)
        if kind == _STATUS and told in _PLAIN:
            return number, _PLAIN[told]
        if told == len(payload) - _ANSWER.size:
            if kind == _DATA:
                return number, Data(memoryview(payload)[_ANSWER.size :])
            if kind == _HANDLE and told <= _LONGEST_HANDLE:
                return number, Handle(bytes(payload[_ANSWER.size :]))
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

    def __init__(self, payload: Payload, at: int = 0) -> None:
        self._payload = memoryview(payload)
        self._at = at

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
        return bytes(self._payload[at : at + length])

    def view(self) -> memoryview:
        length = self.number()
        at = self.take(length)
        return self._payload[at : at + length]

    def rest(self) -> bytes:
        at = self.take(self.left)
        return bytes(self._payload[at:])


def _status(fields: _Fields) -> Status:
    code = fields.number()
    return Status(code, fields.string() if fields.left else b"")


def _handle(fields: _Fields) -> Handle:
    handle = fields.string()
    if len(handle) > _LONGEST_HANDLE:
        raise ProtocolError(f"a handle of {len(handle):,} bytes")
    return Handle(handle)


def _names(fields: _Fields) -> Names:
    count = fields.number()
    if count * 12 > fields.left:  # the least that an entry takes
        raise ProtocolError(f"{count:,} entries in a packet of {fields.left:,} bytes")
    data, at = fields.rest(), 0
    found = []
    try:
        for _ in range(count):
            (length,) = _HEAD.unpack_from(data, at)
            begin = at + _HEAD.size
            name = data[begin : begin + length]
            at = begin + length
            (length,) = _HEAD.unpack_from(data, at)
            at += _HEAD.size + length  # the line that `ls -l` would print is for people
            told, at = _told(data, at)
            found.append(Name(name, told))
    except struct.error:
        raise ProtocolError("a packet that ends too early") from None
    if at != len(data):
        raise ProtocolError(f"{len(data) - at} bytes too many in a packet of names")
    return Names(tuple(found))


def _told(data: bytes, at: int) -> tuple[Attributes, int]:
    """The attributes at a place, and the place behind them; struct.error where there are none."""
    (flags,) = _HEAD.unpack_from(data, at)
    if flags == _ALL_TOLD:
        _, size, _, _, mode, _, modified = _ATTRIBUTES.unpack_from(data, at)
        return Attributes(size, mode, modified), at + _ATTRIBUTES.size
    fields = _Fields(data, at)
    return _attributes(fields), len(data) - fields.left


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
    Kind.HANDLE: _handle,
    Kind.DATA: lambda fields: Data(fields.view()),
    Kind.NAME: _names,
    Kind.ATTRS: _attributes,
    Kind.EXTENDED_REPLY: lambda fields: Reply(fields.rest()),
}
