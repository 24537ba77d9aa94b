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

MAX_PACKET_BYTES = 1 << 20
"""Bytes of the largest answer that is taken. The draft wants at least 34,000 to be understood;
OpenSSH sends 256 KiB at most."""

_BUFFER_PACKETS = 4
"""Of that size that are taken in before the rest of a packet is moved to the front."""

_MAX_HANDLE_BYTES = 256
"""Bytes of a handle: section 6.3 of the draft. We keep a thousand of them, and send them back."""

_ALL_ATTRIBUTES = 0xF
_ATTRIBUTES = struct.Struct(">IQIIIII")
"""If all are present: flags, size, user, group, mode, last read, last modified."""
_DATA, _HANDLE, _STATUS = int(PacketType.DATA), int(PacketType.HANDLE), int(PacketType.STATUS)
_PLAIN = {int(code): Status(code, b"") for code in (Code.OK, Code.EOF)}
"""The attributes of each file and folder; the long name that comes along adds nothing."""


class Framer:
    """A stream of bytes into the payloads of its packets, copied as little as possible.

    Read into `space`, then call `filled` with the count; `feed` does both for bytes that are
    there.
    """

    def __init__(self, largest: int = MAX_PACKET_BYTES) -> None:
        self._largest = largest
        # Several packets, so that the rest of one that was cut seldom has to be moved to the front.
        self._buffer = memoryview(bytearray(_BUFFER_PACKETS * (largest + HEAD.size)))
        self._begin = self._end = 0

    def space(self) -> memoryview:
        """The buffer for the next bytes; writing to it overwrites what `filled` yielded before."""
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
        """The bytes that came, if they are text and not a packet; empty otherwise.

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
    """The number of the answered request, and the answer.

    Raises:
        ProtocolError: the packet is not an answer.
    """
    if len(payload) >= ANSWER.size:  # the most common case is parsed in one step
        kind, number, status_code = ANSWER.unpack_from(payload)
        if kind == _STATUS and status_code in _PLAIN:
            return number, _PLAIN[status_code]
        if status_code == len(payload) - ANSWER.size:
            if kind == _DATA:
                return number, Data(memoryview(payload)[ANSWER.size :])
            if kind == _HANDLE and status_code <= _MAX_HANDLE_BYTES:
                return number, Handle(bytes(payload[ANSWER.size :]))
    fields = _Fields(payload)
    kind, number = fields.byte(), fields.number()
    parser = _PARSERS.get(kind)
    if parser is None:
        raise ProtocolError(f"a packet of the unknown type {kind}")
    answer = parser(fields)
    # A STATUS may end early or go on with a language tag; every other packet is used up.
    if fields.left and kind not in (PacketType.STATUS, PacketType.EXTENDED_REPLY):
        raise ProtocolError(f"{fields.left} extra bytes in a packet of type {kind}")
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

    def __init__(self, payload: Payload, offset: int = 0) -> None:
        self._payload = memoryview(payload)
        self._offset = offset

    @property
    def left(self) -> int:
        return len(self._payload) - self._offset

    def take(self, count: int) -> int:
        """The place of the next a number of bytes."""
        start = self._offset
        if count > len(self._payload) - start:
            raise ProtocolError("a packet that ends too early")
        self._offset = start + count
        return start

    def byte(self) -> int:
        return self._payload[self.take(1)]

    def number(self) -> int:
        start = self.take(4)
        return int.from_bytes(self._payload[start : start + 4])

    def long(self) -> int:
        start = self.take(8)
        return int.from_bytes(self._payload[start : start + 8])

    def string(self) -> bytes:
        length = self.number()
        start = self.take(length)
        return bytes(self._payload[start : start + length])

    def view(self) -> memoryview:
        length = self.number()
        start = self.take(length)
        return self._payload[start : start + length]

    def rest(self) -> bytes:
        start = self.take(self.left)
        return bytes(self._payload[start:])


def _status(fields: _Fields) -> Status:
    code = fields.number()
    return Status(code, fields.string() if fields.left else b"")


def _handle(fields: _Fields) -> Handle:
    handle = fields.string()
    if len(handle) > _MAX_HANDLE_BYTES:
        raise ProtocolError(f"a handle of {len(handle):,} bytes")
    return Handle(handle)


def _names(fields: _Fields) -> Names:
    count = fields.number()
    if count * 12 > fields.left:  # the least that an entry takes
        raise ProtocolError(f"{count:,} entries in a packet of {fields.left:,} bytes")
    data, offset = fields.rest(), 0
    names = []
    try:
        for _ in range(count):
            (length,) = HEAD.unpack_from(data, offset)
            begin = offset + HEAD.size
            name = data[begin : begin + length]
            offset = begin + length
            (length,) = HEAD.unpack_from(data, offset)
            begin = offset + HEAD.size
            offset = begin + length
            line = data[begin:offset]
            attributes, offset = _read_attributes(data, offset)
            names.append(Name(name, attributes, line))
    except struct.error:
        raise ProtocolError("a packet that ends too early") from None
    if offset != len(data):
        raise ProtocolError(f"{len(data) - offset} extra bytes in a packet of names")
    return Names(tuple(names))


def _read_attributes(data: bytes, offset: int) -> tuple[Attributes, int]:
    """The attributes at a place, and the place behind them; struct.error where there are none."""
    (flags,) = HEAD.unpack_from(data, offset)
    if flags == _ALL_ATTRIBUTES:
        _, size, _, _, mode, _, modified = _ATTRIBUTES.unpack_from(data, offset)
        return Attributes(size, mode, modified), offset + _ATTRIBUTES.size
    fields = _Fields(data, offset)
    return _attributes(fields), len(data) - fields.left


def _attributes(fields: _Fields) -> Attributes:
    """Section 5 of the draft: flags say which attributes are present."""
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
