"""Fuzzing of the journal of a file on its way: what is damaged in it says nothing, and no more."""

from __future__ import annotations

import itertools
import zlib

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports():
    from asynchy.engines.chunks import missing
    from asynchy.engines.sftp.partial_files import head, parse

_SEEDS = [
    head(b"frames/a_0001.cbf", 1000, 1_500_000_000),
    b"asynchy part 1 1000 1500000000 6162\n0 10\n10 990\n500 20",
    b"asynchy part 1 0 -1 6162\n0 0",
    b"asynchy part 1 9999999999999999999 9999999999999999999 6162\n9999999999999999998 1",
]


def one(data: bytes) -> None:
    """Take one input as it is, and with the checksum of each of its lines mended."""
    take(data)
    take(b"".join(b"%s %08x\n" % (line, zlib.crc32(line)) for line in data.split(b"\n")))


def take(data: bytes) -> None:
    """What is there lies within the file, in order, and not twice; what was cut off is not."""
    found = parse(data)
    if found is None:
        return
    path, size, modified, there = found
    assert all(offset >= 0 and length >= 0 and offset + length <= size for offset, length in there)
    assert all(sum(a) < b[0] for a, b in itertools.pairwise(there))
    known = sum(length for _, length in there)
    assert known + sum(length for _, length in missing(size, there)) == size
    assert parse(head(path, size, modified)) == (path, size, modified, [])
    cut = parse(data[:-1])
    assert cut is None or sum(length for _, length in cut[3]) <= known


if __name__ == "__main__":
    fuzz(one, _SEEDS)
