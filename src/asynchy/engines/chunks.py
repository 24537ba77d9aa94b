"""An experiment's files cut into bundles: the pieces of work that streams take one at a time."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asynchy.model.experiment import Entry

Extent = tuple[int, int]
"""Some bytes of a file: where they begin, and how many they are."""

MAX_CHUNK_BYTES = 64 << 20
"""Bytes of the largest bundle, and what the ranges of the largest files are aligned to."""
_MIN_CHUNK_BYTES = 4 << 20
_FILE_COST = 32 << 10
"""What a file costs besides its bytes, in bytes: to be opened, closed, dated and renamed."""
_MAX_FILES = 50_000
"""Files of a bundle of whole files: with their names they take some 30 MB."""
_UNITS_PER_EXPERIMENT = 128
"""Into about so many bundles an experiment is cut: enough that many streams end together."""


@dataclass(frozen=True)
class Chunk:
    """A file, or a range of one."""

    entry: Entry
    offset: int
    length: int
    whole: bool
    """Whether it is a file that is fetched at one go, and no range of one that is cut."""


@dataclass(frozen=True)
class WorkUnit:
    """Some pieces, of about the same cost in every bundle. Doing one twice does no harm."""

    number: int
    pieces: Sequence[Chunk]

    @property
    def bytes(self) -> int:
        """The bytes of all its pieces."""
        return sum(piece.length for piece in self.pieces)


@dataclass(frozen=True)
class ChunkSize:
    """How an experiment is cut, from what it has to be fetched in all."""

    bytes: int
    """What a bundle costs and what ranges are aligned to: a power of two."""
    ranges: bool = True
    """Whether big files are cut."""
    pieces: int = sys.maxsize
    """How many pieces a bundle has at most."""

    @classmethod
    def of(cls, size: int, files: int) -> ChunkSize:
        """The size of chunks for `size` bytes in `files` files."""
        wanted = max(1, (size + files * _FILE_COST) // _UNITS_PER_EXPERIMENT)
        return cls(min(MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, 1 << (wanted.bit_length() - 1))))

    @classmethod
    def of_whole_files(cls, size: int, files: int, bundles: int) -> ChunkSize:
        """The cut for a number of bytes in so many files that makes so many bundles.

        There are more of them where one would have too many files to be kept in memory.
        """
        wanted = (
            max(_MIN_CHUNK_BYTES, (size + files * _FILE_COST) // bundles)
            if bundles > 1
            else sys.maxsize
        )
        return cls(wanted, ranges=False, pieces=_MAX_FILES)

    def bundles(self, size: int, files: int) -> int:
        """About how many bundles those make."""
        return max(1, -(-(size + files * _FILE_COST) // self.bytes))

    @property
    def largest_whole(self) -> int:
        """Bytes of the largest file that is not cut into ranges."""
        return 2 * self.bytes if self.ranges else sys.maxsize


def work_units(
    entries: Iterable[Entry], cut: ChunkSize, begun: Mapping[bytes, Sequence[Extent]]
) -> Iterator[WorkUnit]:
    """Every byte of every file in exactly one bundle, in the order of the files.

    `begun` has the files that were fetched in part, by path: what is there of each is left out,
    and the rest comes in ranges, however small the file.
    """
    pieces: list[Chunk] = []
    cost = number = 0
    for entry in entries:
        for piece in _pieces(entry, cut, begun.get(entry.path)):
            pieces.append(piece)
            cost += piece.length + _FILE_COST
            if cost >= cut.bytes or len(pieces) >= cut.pieces:
                yield WorkUnit(number, tuple(pieces))
                pieces, cost, number = [], 0, number + 1
    if pieces:
        yield WorkUnit(number, tuple(pieces))


def joined(extents: Sequence[Extent], new: Extent) -> list[Extent]:
    """Extents in order, those that touch as one, with a further one among them."""
    begin, end = new[0], sum(new)
    at = bisect_left(extents, (begin, 0))
    if at and sum(extents[at - 1]) >= begin:
        at -= 1
        begin = extents[at][0]
    upto = at
    while upto < len(extents) and extents[upto][0] <= end:
        end = max(end, sum(extents[upto]))
        upto += 1
    return [*extents[:at], (begin, end - begin), *extents[upto:]]


def missing(size: int, there: Iterable[Extent]) -> Iterator[Extent]:
    """What is not there of a number of bytes, in order; extents may overlap and are outside."""
    at = 0
    for offset, length in [*sorted(there), (size, 0)]:
        if at < min(offset, size):
            yield at, min(offset, size) - at
        at = max(at, offset + length)


def _pieces(entry: Entry, cut: ChunkSize, there: Sequence[Extent] | None) -> Iterator[Chunk]:
    if there is None and entry.size <= cut.largest_whole:
        yield Chunk(entry, 0, entry.size, whole=True)
        return
    for offset, length in missing(entry.size, there or ()):
        at, end = offset, offset + length
        while at < end:
            upto = min(end, (at // cut.bytes + 1) * cut.bytes)
            yield Chunk(entry, at, upto - at, whole=False)
            at = upto
