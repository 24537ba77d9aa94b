"""Shards: what a host does at a time, and what came of it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from asynchy.engines.chunks import FILE_COST, Chunk, Extent, WorkUnit, joined, missing
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import Task
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.experiment import Entry
from asynchy.ssh.server import Server

SECONDS = 90.0
"""What a shard is to take, once it is known how fast they are."""
_FIRST = 512 << 20
"""Bytes of a shard at most while it is not known how fast they are."""
_SMALLEST = 16 << 20
_LAST = 2.0
"""Seconds that a shard takes at least, at the end: as much may some hosts wait for the others."""
_MOST_FILES = 20_000
"""Files of a shard: with their names they are some 4 MB, which the scheduler keeps."""


@dataclass(frozen=True)
class Shard:
    """Some of an experiment's files, and ranges of files. To do one twice does no harm."""

    transfer: str
    """The name of the transfer, unlike that of any other."""
    number: int
    remote: Server
    task: Task
    """Its scratch folder is the one of the transfer."""
    units: Sequence[WorkUnit]
    connections: int
    """How many it may have at most."""
    bandwidth: BandwidthTimetable | None
    """What all shards of its host may take together."""
    round_trip: float | None
    """Seconds to the server and back, where that is known."""
    streams: int | None
    """How many streams the config asks for; None: as many as pay."""

    @property
    def name(self) -> str:
        """Of its task and its folder."""
        return f"{self.transfer}-{self.number}"

    @property
    def size(self) -> int:
        """The bytes of all that is in it."""
        return sum(unit.bytes for unit in self.units)

    @property
    def files(self) -> int:
        """The files that are fetched whole, and the ranges of others."""
        return sum(len(unit.chunks) for unit in self.units)


def ranged_files(units: Iterable[WorkUnit]) -> dict[bytes, Entry]:
    """The files of which some units have ranges, by path."""
    pieces = (chunk for unit in units for chunk in unit.chunks if not chunk.whole)
    return {chunk.entry.path: chunk.entry for chunk in pieces}


@dataclass(frozen=True)
class ShardResult:
    """What is durable of a shard, and what is wrong."""

    host: str
    worker: str
    """The worker's address."""
    stats: FetchStats
    seconds: float
    extents: Mapping[bytes, Sequence[Extent]]
    """What was fetched of files that come in ranges, by path."""
    rest: Sequence[WorkUnit] = ()
    """What is not done; empty: all of it is, or has failed."""
    round_trip: float | None = None
    """Seconds to the server and back, from that host."""


@dataclass
class DurableData:
    """What a host has made durable of a shard; hears it from the streams' coordinator."""

    extents: dict[bytes, list[Extent]] = field(default_factory=dict)
    """Of files that come in ranges, by path."""
    placed: set[bytes] = field(default_factory=set)
    """The paths of files that came whole."""
    _news: dict[bytes, list[Extent]] = field(default_factory=dict)

    def note(self, chunk: Chunk, extents: Sequence[Extent]) -> bool:
        """Hear of some of it; a file that is cut is never whole here: others have the rest."""
        if chunk.whole:
            self.placed.add(chunk.entry.path)
        else:
            self.extents.setdefault(chunk.entry.path, []).extend(extents)
            news = self._news.get(chunk.entry.path, [])
            for extent in extents:
                news = joined(news, extent)
            self._news[chunk.entry.path] = news
        return False

    def news(self) -> list[tuple[bytes, list[Extent]]]:
        """What was fetched of files that are cut since this was asked last."""
        found, self._news = list(self._news.items()), {}
        return found

    def rest(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """What is not durable of some units."""
        for unit in units:
            left = [part for chunk in unit.chunks for part in self._missing(chunk)]
            if left:
                yield WorkUnit(unit.number, tuple(left))

    def _missing(self, chunk: Chunk) -> Iterator[Chunk]:
        path = chunk.entry.path
        if chunk.whole:
            if path not in self.placed:
                yield chunk
            return
        there = [(at - chunk.offset, length) for at, length in self.extents.get(path, ())]
        for at, length in missing(chunk.length, there):
            yield replace(chunk, offset=chunk.offset + at, length=length)


def without(units: Iterable[WorkUnit], placed: Set[bytes]) -> Iterator[WorkUnit]:
    """Units without the whole files that are in their places."""
    return DurableData(placed=set(placed)).rest(units)


@dataclass
class ShardSize:
    """How large the next shard is to be: a minute or two of work, and all hosts end together."""

    left: float
    """Bytes that are in no shard yet, each file counted with what it costs besides."""
    rate: float | None = None
    """Bytes a second of one shard, where one has ended."""

    @classmethod
    def of(cls, size: int, files: int) -> ShardSize:
        """For so many bytes in so many files."""
        return cls(size + files * FILE_COST)

    def cost(self, places: int) -> float:
        """What the next one may cost, in bytes, where so many are worked on at a time."""
        most = _FIRST if self.rate is None else self.rate * SECONDS
        least = _SMALLEST if self.rate is None else self.rate * _LAST
        return max(least, min(most, self.left / (2 * max(1, places))))

    def ended(self, shard: Shard, seconds: float) -> None:
        """A shard took so long."""
        rate = _cost(shard.units) / max(1.0, seconds)
        self.rate = rate if self.rate is None else (self.rate + rate) / 2

    def cut(self, units: Iterator[WorkUnit], places: int) -> tuple[WorkUnit, ...]:
        """The units of the next shard; none, if there are no more."""
        wanted, cost, files = self.cost(places), 0.0, 0
        found: list[WorkUnit] = []
        while cost < wanted and files < _MOST_FILES and (unit := next(units, None)) is not None:
            found.append(unit)
            cost += _cost([unit])
            files += len(unit.chunks)
        self.left = max(0.0, self.left - cost)
        return tuple(found)


def _cost(units: Iterable[WorkUnit]) -> int:
    return sum(unit.bytes + len(unit.chunks) * FILE_COST for unit in units)
