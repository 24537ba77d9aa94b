"""Shards: how large, and what is left of one that was cut short."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from asynchy.engines.chunks import Chunk, WorkUnit, aligned
from asynchy.engines.cluster.shard import SECONDS, DurableData, ShardSize, without
from asynchy.model.experiment import Entry, EntryKind

MIB = 1 << 20
UNIT = 64 * MIB


def entry(name: str, size: int) -> Entry:
    return Entry(EntryKind.FILE, name.encode(), size, 1_700_000_000, 0o640)


def units(number: int) -> list[WorkUnit]:
    big = entry("image.sqfs", number * UNIT)
    return [WorkUnit(at, (Chunk(big, at * UNIT, UNIT, whole=False),)) for at in range(number)]


def cut_all(number: int, places: int, rate: float | None) -> list[int]:
    left, found = iter(units(number)), []
    size = ShardSize.of(number * UNIT, 1)
    size.rate = rate
    while shard := size.cut(left, places):
        found.append(len(shard))
    return found


def test_every_unit_is_in_one_shard_and_the_last_ones_are_small() -> None:
    found = cut_all(1000, 4, 15e6)
    assert sum(found) == 1000
    assert max(found) <= 1 + 15e6 * SECONDS / UNIT
    assert found[-4:] == [1, 1, 1, 1]  # so that all hosts end together


def test_a_small_experiment_is_for_all_hosts_too() -> None:
    assert cut_all(8, 4, None) == [1] * 8


def test_a_shard_whose_speed_is_known_takes_some_minute() -> None:
    (first, *_) = cut_all(10_000, 4, 1e8)
    assert first - 1 < 1e8 * SECONDS / UNIT <= first


def test_what_is_left_of_a_shard_is_all_that_is_not_durable() -> None:
    small, other = entry("a.h5", 10), entry("b.h5", 0)
    whole = WorkUnit(7, (Chunk(small, 0, 10, whole=True), Chunk(other, 0, 0, whole=True)))
    ranged = units(2)
    durable = DurableData()
    durable.note(whole.chunks[1], [(0, 0)])
    durable.note(ranged[1].chunks[0], [(UNIT + MIB, MIB), (UNIT, MIB)])
    assert list(durable.rest([whole, *ranged])) == [
        replace(whole, chunks=whole.chunks[:1]),
        ranged[0],
        WorkUnit(1, (replace(ranged[1].chunks[0], offset=UNIT + 2 * MIB, length=UNIT - 2 * MIB),)),
    ]
    assert list(without([whole], {b"a.h5", b"b.h5"})) == []


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 40)), max_size=6), st.integers(1, 16))
def test_what_is_gone_on_with_is_never_more_than_is_there_and_shares_no_page(
    extents: list[tuple[int, int]], alignment: int
) -> None:
    size = 130
    there = {at for offset, length in extents for at in range(offset, offset + length)}
    for offset, length in aligned(extents, alignment, size):
        assert set(range(offset, offset + length)) <= there
        assert offset % alignment == 0
        assert offset + length == size or (offset + length) % alignment == 0


def test_what_begins_and_ends_at_pages_and_at_the_end_of_a_file_stays() -> None:
    assert list(aligned([(0, 4), (8, 5)], 4, 13)) == [(0, 4), (8, 5)]
    assert list(aligned([(1, 4)], 4, 13)) == []
