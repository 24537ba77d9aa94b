"""Files cut into bundles: nothing twice, nothing left out."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asynchy.engines.chunks import MAX_CHUNK_BYTES, ChunkSize, Extent, joined, missing, work_units
from asynchy.model.experiment import Entry, EntryKind

MIB = 1 << 20
CUTS = st.sampled_from([ChunkSize(4 * MIB), ChunkSize(16 * MIB), ChunkSize(64 * MIB)])
SIZES = st.one_of(
    st.integers(0, 100_000),
    st.integers(0, 10**9),
    st.integers(0, 20).map(lambda n: n * 32 * MIB),
)
EXTENTS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=6)


def file(number: int, size: int) -> Entry:
    return Entry(EntryKind.FILE, b"%d" % number, size, 0, 0o644)


def added_up(extents: list[Extent]) -> list[Extent]:
    """Extents that touch one another as one; none may overlap."""
    found: list[Extent] = []
    for offset, length in sorted(extents):
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            assert not found or sum(found[-1]) < offset
            found.append((offset, length))
    return found


@given(
    st.lists(SIZES, max_size=12),
    CUTS,
    st.dictionaries(st.integers(0, 11), EXTENTS, max_size=3),
)
def test_every_byte_is_in_exactly_one_bundle(
    sizes: list[int], cut: ChunkSize, begun: dict[int, list[Extent]]
) -> None:
    files = [file(at, size) for at, size in enumerate(sizes)]
    there = {b"%d" % at: extents for at, extents in begun.items()}
    made = list(work_units(files, cut, there))
    assert [unit.number for unit in made] == list(range(len(made)))
    found: dict[bytes, list[Extent]] = defaultdict(list)
    for unit in made:
        assert unit.chunks
        assert unit.bytes <= cut.bytes + cut.largest_whole
        for chunk in unit.chunks:
            assert chunk.length > 0 or chunk.entry.size == 0
            cut_up = chunk.entry.size > cut.largest_whole or chunk.entry.path in there
            assert chunk.whole is not cut_up
            if cut_up:
                assert chunk.offset // cut.bytes == (chunk.offset + chunk.length - 1) // cut.bytes
            else:
                assert chunk.length == chunk.entry.size
            found[chunk.entry.path].append((chunk.offset, chunk.length))
    for entry in files:
        if entry.path in there:
            rest = list(missing(entry.size, there[entry.path]))
            assert added_up(found[entry.path]) == added_up(rest)
        else:
            assert added_up(found[entry.path]) == [(0, entry.size)]


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=8),
)
def test_what_is_missing_and_what_is_there_make_the_whole(size: int, there: list[Extent]) -> None:
    rest = list(missing(size, there))
    assert all(length > 0 and offset + length <= size for offset, length in rest)
    for offset, length in rest:
        assert not any(a < offset + length and offset < a + b for a, b in there)
    covered = list(missing(size, [*there, *rest]))
    assert covered == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=12))
def test_extents_are_joined_as_sets_of_bytes_are(added: list[Extent]) -> None:
    found: list[Extent] = []
    there: set[int] = set()
    for offset, length in added:
        found = joined(found, (offset, length))
        there |= set(range(offset, offset + length))
        assert {at for begin, size in found for at in range(begin, begin + size)} == there
        assert all(sum(one) < two[0] for one, two in pairwise(found))


@given(st.integers(0, 10**15), st.integers(0, 10**8))
def test_a_cut_is_a_power_of_two_within_bounds(total: int, files: int) -> None:
    cut = ChunkSize.of(total, files).bytes
    assert cut & (cut - 1) == 0
    assert 4 * MIB <= cut <= MAX_CHUNK_BYTES


def test_many_streams_find_work_in_a_small_experiment_and_a_large_one_gets_large_ranges() -> None:
    assert ChunkSize.of(2 << 30, 1).bytes == 16 * MIB
    assert ChunkSize.of(10**12, 10**5).bytes == 64 * MIB


def test_one_bundle_of_whole_files_holds_all_of_it_unless_there_are_very_many() -> None:
    cut = ChunkSize.of_whole_files(0, 120_000, 1)
    files = [file(number, number) for number in range(120_000)]
    made = list(work_units(files, cut, {}))
    assert [len(unit.chunks) for unit in made] == [50_000, 50_000, 20_000]
    assert [chunk.entry for unit in made for chunk in unit.chunks] == files
    large = [file(number, 10**12) for number in range(3)]
    assert len(list(work_units(large, ChunkSize.of_whole_files(3 * 10**12, 3, 1), {}))) == 1
    assert len(list(work_units(large, ChunkSize.of_whole_files(3 * 10**12, 3, 3), {}))) == 3
