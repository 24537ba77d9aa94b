"""Data that a file has lost to zeros."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from asynchy.localfs.lost_data import has_lost_data

MIB = 1 << 20


def lost(tmp_path: Path, earlier: bytes, now: bytes, size: int | None = None) -> bool:
    (tmp_path / "earlier").write_bytes(earlier)
    (tmp_path / "now").write_bytes(now)
    one, other = (os.open(tmp_path / name, os.O_RDONLY) for name in ("now", "earlier"))
    try:
        return has_lost_data(one, other, size or min(len(earlier), len(now)))
    finally:
        os.close(one)
        os.close(other)


def data(size: int) -> bytes:
    return bytes(random.Random(size).choices(range(1, 256), k=size))


@pytest.mark.parametrize(
    ("size", "start", "length"),
    [
        (10_000, 1, 4095),
        (10_000, 777, 6000),
        (10_000, 100, 512),
        (10_000, 9728, 272),  # the last sector, which is shorter
        (23, 0, 23),
        (1, 0, 1),
        (2 * MIB, MIB - 300, 512),  # over the end of a block
        (2 * MIB, MIB - 300, 300 + 212),
        (3 * MIB, 5, 3 * MIB - 10),
        (3 * MIB, MIB, MIB),
        (2 * MIB, 2 * MIB - 512, 512),
    ],
)
def test_zeros_in_place_of_data_are_seen_wherever_they_begin(
    tmp_path: Path, size: int, start: int, length: int
) -> None:
    earlier = data(size)
    now = earlier[:start] + bytes(length) + earlier[start + length :]
    assert len(now) == size
    assert lost(tmp_path, earlier, now)
    assert not lost(tmp_path, now, now), "the earlier version has the same zeros"
    assert not lost(tmp_path, now, earlier), "data in place of zeros are no loss"


@pytest.mark.parametrize(("start", "length"), [(0, 511), (700, 400), (MIB - 200, 400)])
def test_runs_shorter_than_a_sector_are_ordinary_data(
    tmp_path: Path, start: int, length: int
) -> None:
    earlier = data(2 * MIB)
    now = earlier[:start] + bytes(length) + earlier[start + length :]
    assert not lost(tmp_path, earlier, now)


def test_other_data_are_no_loss_and_nothing_is_none(tmp_path: Path) -> None:
    assert not lost(tmp_path, data(5000), data(5001))
    assert not lost(tmp_path, b"", b"")


@pytest.mark.parametrize(("earlier", "now"), [(600, 1000), (1000, 600)])
def test_a_file_that_became_shorter_meanwhile_is_an_error(
    tmp_path: Path, earlier: int, now: int
) -> None:
    with pytest.raises(OSError, match="it became shorter"):
        lost(tmp_path, data(earlier), bytes(now), size=1000)
