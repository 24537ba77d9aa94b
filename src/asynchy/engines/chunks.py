"""An experiment's files cut into bundles: the pieces of work that streams take one at a time."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asynchy.model.experiment import Entry

Extent = tuple[int, int]
"""A range of bytes of a file: its offset and its length."""

MAX_CHUNK_BYTES = 64 << 20
"""Bytes of the largest work unit; also the alignment of the ranges of the largest files."""
_MIN_CHUNK_BYTES = 4 << 20
FILE_COST = 32 << 10
"""The fixed cost of a file, in bytes: to open, close, date and rename it."""
_MAX_FILES = 50_000
"""Files of a work unit of whole files: with their names they take some 30 MB."""
_UNITS_PER_EXPERIMENT = 128
"""About the number of work units of an experiment: enough that many streams end together."""


@dataclass(frozen=True)
class Chunk:
    """A file, or a range of one."""

    entry: Entry
    offset: int
    length: int
    whole: bool
    """Whether it is a complete file, not a range of one."""


@dataclass(frozen=True)
class WorkUnit:
    """Some chunks, of about the same cost in every work unit. Doing one twice does no harm."""

    number: int
    chunks: Sequence[Chunk]

    @property
    def bytes(self) -> int:
        """The bytes of all its chunks."""
        return sum(chunk.length for chunk in self.chunks)


@dataclass(frozen=True)
class ChunkSize:
    """How the files of an experiment are cut into chunks, from their total size."""

    bytes: int
    """The cost of a work unit, and the alignment of ranges: a power of two."""
    ranges: bool = True
    """Whether big files are cut."""
    chunks: int = sys.maxsize
    """The limit on chunks in a work unit."""

    @classmethod
    def of(cls, size: int, files: int) -> ChunkSize:
        """The size of chunks for `size` bytes in `files` files."""
        target_cost = max(1, (size + files * FILE_COST) // _UNITS_PER_EXPERIMENT)
        return cls(min(MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, 1 << (target_cost.bit_length() - 1))))

    @classmethod
    def of_whole_files(cls, size: int, files: int, units: int) -> ChunkSize:
        """The chunk size for `size` bytes in `files` files that makes `units` work units.

        It makes more if one would have too many files to be kept in memory.
        """
        target_cost = (
            max(_MIN_CHUNK_BYTES, (size + files * FILE_COST) // units) if units > 1 else sys.maxsize
        )
        return cls(target_cost, ranges=False, chunks=_MAX_FILES)

    def units(self, size: int, files: int) -> int:
        """The approximate number of work units for `size` bytes in `files` files."""
        return max(1, -(-(size + files * FILE_COST) // self.bytes))

    @property
    def largest_whole(self) -> int:
        """Bytes of the largest file that is not cut into ranges."""
        return 2 * self.bytes if self.ranges else sys.maxsize


def work_units(
    entries: Iterable[Entry], chunk_size: ChunkSize, existing: Mapping[bytes, Sequence[Extent]]
) -> Iterator[WorkUnit]:
    """Every byte of every file in exactly one work unit, in the order of the files.

    `existing` has the ranges of partly fetched files, by path: they are left out, and the rest
    comes in ranges, however small the file.
    """
    chunks: list[Chunk] = []
    cost = number = 0
    for entry in entries:
        for chunk in _chunks(entry, chunk_size, existing.get(entry.path)):
            chunks.append(chunk)
            cost += chunk.length + FILE_COST
            if cost >= chunk_size.bytes or len(chunks) >= chunk_size.chunks:
                yield WorkUnit(number, tuple(chunks))
                chunks, cost, number = [], 0, number + 1
    if chunks:
        yield WorkUnit(number, tuple(chunks))


def joined(extents: Sequence[Extent], new: Extent) -> list[Extent]:
    """Extents in order, those that touch as one, with a further one among them."""
    begin, end = new[0], sum(new)
    index = bisect_left(extents, (begin, 0))
    if index and sum(extents[index - 1]) >= begin:
        index -= 1
        begin = extents[index][0]
    end_index = index
    while end_index < len(extents) and extents[end_index][0] <= end:
        end = max(end, sum(extents[end_index]))
        end_index += 1
    return [*extents[:index], (begin, end - begin), *extents[end_index:]]


def missing(size: int, existing: Iterable[Extent]) -> Iterator[Extent]:
    """The missing ranges of `size` bytes, in order; extents may overlap, or lie outside."""
    position = 0
    for offset, length in [*sorted(existing), (size, 0)]:
        if position < min(offset, size):
            yield position, min(offset, size) - position
        position = max(position, offset + length)


def aligned(extents: Iterable[Extent], alignment: int, size: int) -> Iterator[Extent]:
    """What is left of extents if each begins and ends at a multiple of `alignment`.

    The end of the file, which has `size` bytes, is one, too.
    """
    for offset, length in extents:
        begin = -(-offset // alignment) * alignment
        end = offset + length
        if end < size:
            end -= end % alignment
        if begin < end:
            yield begin, end - begin


def _chunks(
    entry: Entry, chunk_size: ChunkSize, existing: Sequence[Extent] | None
) -> Iterator[Chunk]:
    if existing is None and entry.size <= chunk_size.largest_whole:
        yield Chunk(entry, 0, entry.size, whole=True)
        return
    for offset, length in missing(entry.size, existing or ()):
        position, end = offset, offset + length
        while position < end:
            boundary = min(end, (position // chunk_size.bytes + 1) * chunk_size.bytes)
            yield Chunk(entry, position, boundary - position, whole=False)
            position = boundary
