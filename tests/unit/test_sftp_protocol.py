"""SFTP packets: what goes out, what comes in, and whatever else may come in."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.ssh.sftp import decoder, protocol
from asynchy.ssh.sftp.decoder import Framer, parse_answer, parse_hello, parse_limits
from asynchy.ssh.sftp.protocol import (
    Attributes,
    Code,
    Data,
    Handle,
    Limits,
    Name,
    Names,
    ProtocolError,
    Reply,
    Status,
)

numbers = st.integers(0, 2**32 - 1)
longs = st.integers(0, 2**64 - 1)
strings = st.binary(max_size=40)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def string(text: bytes) -> bytes:
    return u32(len(text)) + text


attributes = st.builds(
    Attributes,
    size=st.none() | longs,
    mode=st.none() | numbers,
    modified=st.none() | numbers,
)


def encoded(told: Attributes, extra: list[tuple[bytes, bytes]], owner: bool) -> bytes:
    """Written from the draft, section 5."""
    flags = (
        (told.size is not None) * 1
        | owner * 2
        | (told.mode is not None) * 4
        | (told.modified is not None) * 8
        | bool(extra) * 0x80000000
    )
    body = u32(flags)
    if told.size is not None:
        body += struct.pack(">Q", told.size)
    if owner:
        body += u32(1000) + u32(100)
    if told.mode is not None:
        body += u32(told.mode)
    if told.modified is not None:
        body += u32(7) + u32(told.modified)
    if extra:
        body += u32(len(extra)) + b"".join(string(a) + string(b) for a, b in extra)
    return body


pairs = st.lists(st.tuples(strings, strings), max_size=3)


def test_requests_to_the_letter() -> None:
    assert protocol.init() == bytes.fromhex("00000005 01 00000003")
    assert protocol.open_folder(7, b"/a") == bytes.fromhex("0000000b 0b 00000007 00000002 2f61")
    assert protocol.read_folder(8, b"h") == bytes.fromhex("0000000a 0c 00000008 00000001 68")
    assert protocol.close(9, b"h") == bytes.fromhex("0000000a 04 00000009 00000001 68")
    assert protocol.open_file(1, b"f") == bytes.fromhex(
        "00000012 03 00000001 00000001 66 00000001 00000000"
    )
    assert protocol.read(2, b"h", 2**33, 4) == bytes.fromhex(
        "00000016 05 00000002 00000001 68 0000000200000000 00000004"
    )
    assert protocol.lstat(3, b"f")[4] == 7
    assert protocol.real_path(3, b".")[4] == 16
    assert protocol.extended(3, b"x") == bytes.fromhex("0000000a c8 00000003 00000001 78")


@given(numbers, st.lists(st.tuples(strings, attributes, pairs, st.booleans()), max_size=4))
def test_names(
    number: int, entries: list[tuple[bytes, Attributes, list[tuple[bytes, bytes]], bool]]
) -> None:
    body = b"".join(string(n) + string(b"ls -l") + encoded(a, x, o) for n, a, x, o in entries)
    found = parse_answer(b"\x68" + u32(number) + u32(len(entries)) + body)
    assert found == (number, Names(tuple(Name(n, a, b"ls -l") for n, a, _, _ in entries)))


@given(numbers, attributes, pairs, st.booleans())
def test_attributes(
    number: int, told: Attributes, extra: list[tuple[bytes, bytes]], owner: bool
) -> None:
    assert parse_answer(b"\x69" + u32(number) + encoded(told, extra, owner)) == (number, told)


@given(numbers, st.one_of(st.integers(0, 4), numbers), strings)
def test_the_other_answers(number: int, code: int, text: bytes) -> None:
    head = u32(number)
    status = b"\x65" + head + u32(code) + string(text) + string(b"en")
    words = b"" if code in (Code.OK, Code.EOF) else text  # of those, only the code counts
    assert parse_answer(status) == (number, Status(code, words))
    assert parse_answer(b"\x65" + head + u32(code)) == (number, Status(code, b""))
    assert parse_answer(b"\x66" + head + string(text)) == (number, Handle(text))
    found, data = parse_answer(b"\x67" + head + string(text))
    assert isinstance(data, Data) and (found, bytes(data.data)) == (number, text)
    assert parse_answer(b"\xc9" + head + text) == (number, Reply(text))


@given(longs, longs, longs, longs)
def test_limits(packet: int, read: int, write: int, handles: int) -> None:
    body = struct.pack(">4Q", packet, read, write, handles)
    assert parse_limits(body) == Limits(packet, read, write, handles)


@given(pairs)
def test_hello(extensions: list[tuple[bytes, bytes]]) -> None:
    body = b"".join(string(a) + string(b) for a, b in extensions)
    assert parse_hello(b"\x02" + u32(3) + body).extensions == dict(extensions)


@pytest.mark.parametrize("hello", [b"\x02" + u32(2), b"\x65" + u32(3), b"\x02", b""])
def test_what_is_no_hello(hello: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_hello(hello)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x68",
        b"\x63" + u32(1),  # an unknown type
        b"\x66" + u32(1) + u32(5) + b"abc",  # a string that ends too early
        b"\x66" + u32(1) + string(b"h") + b"more",
        b"\x68" + u32(1) + u32(2**32 - 1),  # four thousand million entries
        b"\x69" + u32(1) + u32(0x10),  # attributes that this version does not have
        b"\x69" + u32(1) + u32(0x80000000) + u32(2**32 - 1),
    ],
)
def test_what_is_no_answer(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_answer(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_protocol_error(payload: bytes) -> None:
    for parse in (parse_answer, parse_hello, parse_limits):
        with contextlib.suppress(ProtocolError):
            parse(payload)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.data())
def test_packets_come_whole_however_the_stream_is_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(string(payload) for payload in payloads)
    framer, found = Framer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += list(framer.feed(stream[:cut]))
        stream = stream[cut:]
    assert found == payloads


@pytest.mark.parametrize("length", [0, decoder.MAX_PACKET_BYTES + 1, 2**32 - 1])
def test_a_packet_of_an_impossible_length_is_refused_before_it_is_read(length: int) -> None:
    with pytest.raises(ProtocolError, match="a packet of"):
        list(Framer().feed(u32(length)))
