"""SFTP version 3 as bytes: requests out, answers in. No I/O.

draft-ietf-secsh-filexfer-02 for the protocol, OpenSSH's PROTOCOL (section 4.8) for
limits@openssh.com. Only what reading needs is here: nothing is ever written at the facility.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

VERSION = 3
LIMITS = b"limits@openssh.com"

HEAD = struct.Struct(">I")
"""The length of a packet, of a text, and other numbers."""
_READ = struct.Struct(">QI")
_REQUEST = struct.Struct(">IBII")
"""Length of the packet, its type and number, and the length of a text."""
ANSWER = struct.Struct(">BII")
"""Type and number, and the length of a text or a code."""
_READ_ONLY = HEAD.pack(1) + HEAD.pack(0)
"""Open for reading (SSH_FXF_READ), without attributes."""


class ProtocolError(ValueError):
    """The server sent bytes that are not valid SFTP."""


class PacketType(IntEnum):
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


class Code(IntEnum):
    """The status codes that matter here."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4


class Attributes(NamedTuple):
    """The attributes of a file; None if one is not reported."""

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
    """Bytes of a file; they are to be used at once, for their place is used again."""

    data: memoryview


class Name(NamedTuple):
    """One entry of a folder."""

    name: bytes
    attributes: Attributes
    line: bytes = b""
    """The line that `ls -l` would print; no form is prescribed."""


@dataclass(frozen=True)
class Names:
    """Some entries of a folder."""

    names: tuple[Name, ...]


@dataclass(frozen=True)
class Limits:
    """limits@openssh.com: the server's limits; 0 if it does not report one."""

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
    return HEAD.pack(1 + HEAD.size) + bytes([PacketType.INIT]) + HEAD.pack(VERSION)


def open_file(number: int, path: bytes) -> bytes:
    """Open a file for reading."""
    return _request(PacketType.OPEN, number, path, _READ_ONLY)


def read(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """Read a number of bytes at an offset; the answer may hold fewer."""
    return _request(PacketType.READ, number, handle, _READ.pack(offset, length))


def close(number: int, handle: bytes) -> bytes:
    """Close a file or a folder."""
    return _request(PacketType.CLOSE, number, handle)


def lstat(number: int, path: bytes) -> bytes:
    """Ask for the attributes of a path, symbolic links not followed."""
    return _request(PacketType.LSTAT, number, path)


def follow(number: int, path: bytes) -> bytes:
    """Ask for the attributes of a path (STAT), symbolic links followed."""
    return _request(PacketType.STAT, number, path)


def read_link(number: int, path: bytes) -> bytes:
    """Ask where a symbolic link points to; the answer is one name, without attributes of worth."""
    return _request(PacketType.READLINK, number, path)


def open_folder(number: int, path: bytes) -> bytes:
    """Open a folder for listing."""
    return _request(PacketType.OPENDIR, number, path)


def read_folder(number: int, handle: bytes) -> bytes:
    """Ask for the next entries of a folder."""
    return _request(PacketType.READDIR, number, handle)


def real_path(number: int, path: bytes) -> bytes:
    """Ask for the absolute path of a path."""
    return _request(PacketType.REALPATH, number, path)


def extended(number: int, name: bytes) -> bytes:
    """An extension's request that has no arguments."""
    return _request(PacketType.EXTENDED, number, name)


def _request(kind: PacketType, number: int, text: bytes, rest: bytes = b"") -> bytes:
    length = ANSWER.size + len(text) + len(rest)
    return _REQUEST.pack(length, kind, number, len(text)) + text + rest


def is_failure(answer: Answer) -> bool:
    """Whether it reports a failure without a reason: the server may be out of handles."""
    return isinstance(answer, Status) and answer.code == Code.FAILURE
