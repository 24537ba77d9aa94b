"""Fuzzing of the SFTP codec: whatever comes in, an answer or a ProtocolError, and nothing is lost."""

from __future__ import annotations

import contextlib

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports():
    from asynchy.ssh.sftp.decoder import Framer, parse_answer, parse_hello, parse_limits
    from asynchy.ssh.sftp.protocol import ProtocolError

_SEEDS = (
    "00000005 02 00000003",
    "00000017 65 00000001 00000001 00000003 456f66 00000000",
    "0000000a 66 00000001 00000001 68",
    "0000002b 68 00000001 00000001 00000001 66 00000001 6c 0000000d 0000000000000007 000081a4"
    "00000000 59682f00",
)


def one(data: bytes) -> None:
    """Take one input, whole and in two parts."""
    cut = data[0] if data else 0
    whole, parts = Framer(4096), Framer(4096)
    try:
        payloads = list(whole.feed(data))
        assert payloads == [*parts.feed(data[:cut]), *parts.feed(data[cut:])]
    except ProtocolError:
        payloads = [data]
    for payload in payloads:
        for parse in (parse_answer, parse_hello, parse_limits):
            with contextlib.suppress(ProtocolError):
                parse(payload)


if __name__ == "__main__":
    fuzz(one, [bytes.fromhex(seed) for seed in _SEEDS])
