"""Data that a file lost to zeros are seen wherever they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.localfs.new_zeros import has_new_zeros
from asynchy.localfs.safe_tree import SafeTree

MIB = 2**20


def zeroed(tmp_path: Path, size: int, *runs: tuple[int, int], old: bytes | None = None) -> bool:
    """Whether zeros in these runs (first byte, length) are seen."""
    before = old or b"a" * size
    after = bytearray(before)
    for start, length in runs:
        after[start : start + length] = bytes(length)
    for name, content in (("old", before), ("new", bytes(after))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.h5").write_bytes(content)
    with (
        SafeTree(tmp_path / "new", tmp_path) as new_tree,
        SafeTree(tmp_path / "old", tmp_path) as old_tree,
    ):
        return has_new_zeros(new_tree, old_tree, b"x.h5", size)


@pytest.mark.parametrize(
    ("size", "run"),
    [
        (20_000, (1000, 6000)),
        (10_000, (513, 512)),
        (10_000, (9728, 272)),  # the last, shorter sector
        (23, (0, 23)),
        (3 * MIB, (MIB - 700, 600)),  # over the end of a block that is read
        (3 * MIB, (2 * MIB - 512 - 300, 512)),
        (3 * MIB, (3 * MIB - 512, 512)),
    ],
)
def test_a_run_of_a_sector_of_zeros_is_seen_wherever_it_begins(
    tmp_path: Path, size: int, run: tuple[int, int]
) -> None:
    assert zeroed(tmp_path, size, run)


def test_zeros_are_no_loss_if_they_are_short_or_were_there_before(tmp_path: Path) -> None:
    old = b"a" * 5000 + bytes(100_000) + b"a" * 5000
    runs = ((10_000, 50_000), (100, 511), (105_500, 400))
    assert not zeroed(tmp_path, len(old), *runs, old=old)


def test_a_file_that_is_shorter_than_compared_is_an_error_and_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="shorter"):
        zeroed(tmp_path, 6000, old=b"a" * 5000)
