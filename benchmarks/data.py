"""What is measured with: made data that cannot be compressed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

_KIB, _MIB = 1 << 10, 1 << 20
_YEAR_2016 = 1_461_880_800


class _Stock:
    """Random bytes, each call others, as fast as memory is copied."""

    def __init__(self) -> None:
        self._bytes = memoryview(os.urandom(64 * _MIB))
        self.chance = random.Random(1)

    def write(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while size > 0:
                begin = self.chance.randrange(len(self._bytes) // 2)
                some = self._bytes[begin : begin + min(size, 16 * _MIB)]
                file.write(some)
                size -= len(some)
        os.utime(path, (_YEAR_2016, _YEAR_2016))

    def some(self, folder: Path, count: int, least: int, most: int, each: int = 100) -> None:
        for at in range(count):
            path = folder / f"run_{at // each:04}" / f"scan_{at:06}.cbf"
            self.write(path, self.chance.randint(least, most))


def _small(stock: _Stock, folder: Path) -> None:
    stock.some(folder, 10_000, 2 * _KIB, 32 * _KIB)


def _frames(stock: _Stock, folder: Path) -> None:
    stock.some(folder, 300, 4 * _MIB, 8 * _MIB)


def _huge(stock: _Stock, folder: Path) -> None:
    stock.write(folder / "image.sqfs", 2 << 30)


def _mix(stock: _Stock, folder: Path) -> None:
    stock.some(folder / "frames", 150, 2 * _MIB, 8 * _MIB)
    stock.some(folder / "auto", 3000, 0, 20 * _KIB, each=30)
    stock.write(folder / "frames" / "master.sqfs", 256 * _MIB)


SETS: dict[str, Callable[[_Stock, Path], None]] = {
    "SMALL": _small,
    "FRAMES": _frames,
    "HUGE": _huge,
    "MIX": _mix,
}
"""By name. SMALL: 10,000 files of 2 to 32 KiB. FRAMES: 300 of 4 to 8 MiB. HUGE: one of 2 GiB. MIX:
as MX beamlines make them, 1.1 GB."""


def make(name: str, folder: Path) -> int:
    """Make a set below a folder; its bytes."""
    SETS[name](_Stock(), folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
