"""SFTP version 3: the bytes that a server sends, cut into packets and understood. No I/O.

`protocol.py` has the answers and the sources.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from asynchy.ssh.sftp.protocol import (
    ANSWER,
    HEAD,
    VERSION,
    Answer,
    Attributes,
    Code,
    Data,
    Handle,
    Hello,
    Limits,
    Name,
    Names,
    PacketType,
    Payload,
    ProtocolError,
    Reply,
    Status,
)

LARGEST = 1 << 20
"""Bytes of the largest answer that is taken. The draft wants at least 34,000 to be understood;
OpenSSH sends 256 KiB at most."""

_PACKETS = 4
"""Of that size that are taken in before the rest of a packet is moved to the front."""

_LONGEST_HANDLE = 256
"""Bytes of a handle: section 6.3 of the draft. We keep a thousand of them, and send them back."""

_ALL_TOLD = 0xF
_ATTRIBUTES = struct.Struct(">IQIIIII")
"""Where all are told: flags, size, user, group, mode, last read, last modified."""
_DATA, _HANDLE, _STATUS = int(PacketType.DATA), int(PacketType.HANDLE), int(PacketType.STATUS)
_PLAIN = {int(code): Status(code, b"") for code in (Code.OK, Code.EOF)}
"""What is said of each file and folder; the words that come along say no more."""


class Framer:
    """A stream of bytes into the payloads of its packets, copied as little as possible.

    Read into `space`, then tell `filled` how much; `feed` does both for bytes that are there.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        # Several packets, so that the rest of one that was cut seldom has to be moved to the front.
        self._buffer = memoryview(bytearray(_PACKETS * (largest + HEAD.size)))
        self._begin = self._end = 0

    def space(self) -> memoryview:
        """Where the next bytes are to be written; what `filled` yielded before is lost by that."""
        if len(self._buffer) - self._begin < self._largest + HEAD.size:
            rest = self._end - self._begin
            self._buffer[:rest] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, rest
        return self._buffer[self._end :]

    def filled(self, count: int) -> Iterator[memoryview]:
        """The packets that are whole, now that a number of bytes were written.

        Raises:
            ProtocolError: a packet is empty, or larger than it may be.
        """
        self._end += count
        while self._end - self._begin >= HEAD.size:
            (length,) = HEAD.unpack_from(self._buffer, self._begin)
            if not 1 <= length <= self._largest:
                raise ProtocolError(f"a packet of {length:,} bytes")
            begin = self._begin + HEAD.size
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


def parse_hello(payload: Payload) -> Hello:
    """The answer to `init`.

    Raises:
        ProtocolError: it is something else, or of a version that we do not speak.
    """
    fields = _Fields(payload)
    kind, version = fields.byte(), fields.number()
    if kind != PacketType.VERSION or version < VERSION:
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
    if len(payload) >= ANSWER.size:  # what nearly always comes is taken at one go
        kind, number, told = ANSWER.unpack_from(payload)
        if kind == _STATUS and told in _PLAIN:
            return number, _PLAIN[told]
        if told == len(payload) - ANSWER.size:
            if kind == _DATA:
                return number, Data(memoryview(payload)[ANSWER.size :])
            if kind == _HANDLE and told <= _LONGEST_HANDLE:
                return number, Handle(bytes(payload[ANSWER.size :]))
    fields = _Fields(payload)
    kind, number = fields.byte(), fields.number()
    parser = _PARSERS.get(kind)
    if parser is None:
        raise ProtocolError(f"a packet of the unknown type {kind}")
    answer = parser(fields)
    # A STATUS may end early or go on with a language tag; every other packet is used up.
    if fields.left and kind not in (PacketType.STATUS, PacketType.EXTENDED_REPLY):
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
        """The place of the next a number of bytes."""
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
            (length,) = HEAD.unpack_from(data, at)
            begin = at + HEAD.size
            name = data[begin : begin + length]
            at = begin + length
            (length,) = HEAD.unpack_from(data, at)
            begin = at + HEAD.size
            at = begin + length
            line = data[begin:at]
            told, at = _told(data, at)
            found.append(Name(name, told, line))
    except struct.error:
        raise ProtocolError("a packet that ends too early") from None
    if at != len(data):
        raise ProtocolError(f"{len(data) - at} bytes too many in a packet of names")
    return Names(tuple(found))


def _told(data: bytes, at: int) -> tuple[Attributes, int]:
    """The attributes at a place, and the place behind them; struct.error where there are none."""
    (flags,) = HEAD.unpack_from(data, at)
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
    PacketType.STATUS: _status,
    PacketType.HANDLE: _handle,
    PacketType.DATA: lambda fields: Data(fields.view()),
    PacketType.NAME: _names,
    PacketType.ATTRS: _attributes,
    PacketType.EXTENDED_REPLY: lambda fields: Reply(fields.rest()),
}
