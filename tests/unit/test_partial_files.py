"""Files that come in ranges: what the journal says is there, whatever a crash has left of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.engines.chunks import Extent
from asynchy.engines.sftp import partial_files
from asynchy.model.experiment import Entry, EntryKind

SIZE = 1000
ENTRY = Entry(EntryKind.FILE, b"a/\xffb\nc", SIZE, -5, 0o640)
EXTENTS = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 100)), max_size=8)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def written(folder: Path, extents: list[Extent]) -> bytes:
    """A journal as it stands on the disk once these are noted."""
    scratch = os.open(folder, os.O_RDONLY)
    part = partial_files.begin(scratch, ENTRY)
    part.note(extents)
    part.close()
    os.close(scratch)
    return (folder / f"{part.name}.journal").read_bytes()


def bytes_of(extents: list[Extent]) -> set[int]:
    return {at for offset, length in extents for at in range(offset, offset + length)}


@given(EXTENTS, st.integers(0, 400))
def test_a_journal_that_was_cut_off_says_less_and_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, extents: list[Extent], cut: int
) -> None:
    whole = written(tmp_path_factory.mktemp("scratch"), extents)
    found = partial_files.parse(whole)
    assert found is not None
    assert found[:3] == (ENTRY.path, SIZE, -5)
    assert bytes_of(found[3]) == bytes_of(extents)
    part = partial_files.parse(whole[: max(0, len(whole) - cut)])
    if part is not None:
        assert part[:3] == found[:3]
        assert bytes_of(part[3]) <= bytes_of(extents)


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 100)), min_size=1, max_size=4), st.data()
)
def test_a_flipped_byte_never_makes_anything_be_there(
    tmp_path_factory: pytest.TempPathFactory, extents: list[Extent], data: st.DataObject
) -> None:
    whole = bytearray(written(tmp_path_factory.mktemp("scratch"), extents))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found = partial_files.parse(bytes(whole))
    if found is not None:
        assert found[:3] == (ENTRY.path, SIZE, -5)
        assert bytes_of(found[3]) <= bytes_of(extents)


@given(st.binary())
def test_anything_may_lie_there(text: bytes) -> None:
    assert partial_files.parse(text) is None


def test_a_part_is_found_again(scratch: int, tmp_path: Path) -> None:
    part = partial_files.begin(scratch, ENTRY)
    (tmp_path / part.name).write_bytes(b"x" * 300)
    part.note([(0, 100), (200, 100)])
    part.close()
    (found,) = partial_files.find(scratch)
    assert found.is_of(ENTRY) and not found.is_whole
    assert found.extents == [(0, 100), (200, 100)]
    (tmp_path / part.name).write_bytes(b"x" * SIZE)
    found.note([(100, 100), (300, 700)])
    assert found.is_whole
    found.close()
    assert not found.is_of(Entry(EntryKind.FILE, ENTRY.path, SIZE, -4, 0o640))
    assert not found.is_of(Entry(EntryKind.FILE, ENTRY.path, SIZE + 1, -5, 0o640))


def test_what_the_journal_says_and_the_data_has_not_is_begun_afresh(
    scratch: int, tmp_path: Path
) -> None:
    part = partial_files.begin(scratch, ENTRY)
    (tmp_path / part.name).write_bytes(b"x" * 50)
    part.note([(0, 100)])
    part.close()
    assert list(partial_files.find(scratch)) == []
    assert list(tmp_path.iterdir()) == []


def test_data_without_a_journal_is_worth_nothing(scratch: int, tmp_path: Path) -> None:
    (tmp_path / partial_files.name_of(b"x")).write_bytes(b"x" * SIZE)
    (tmp_path / "1-17").write_bytes(b"a file of a stream that was killed")
    (tmp_path / "elsewhere.journal").write_bytes(partial_files.head(b"y", 1, 1))
    assert list(partial_files.find(scratch)) == []
    assert list(tmp_path.iterdir()) == []
