"""Swaps folders of a copy for symbolic links and back, as fast as it can, until it is ended.

    swap_links.py COPY OUTSIDE

Also what is beside the data. Says how many swaps it made when SIGTERM comes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

PAUSES = (0, 0, 0.0005, 0.002, 0.01)
"""Seconds for which a link stays."""
BESIDE = (".asynchy-data", "data.asynchy-mismatch", "data.asynchy-replaced", ".asynchy-receipt")


def main(copy: Path, outside: Path) -> int:
    """Swap until told to end; how often."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    draw = random.Random(7)
    inside = [copy / name for name in ("frames/s0", "frames/s1", "frames", ".")]
    beside = [copy.parent / name for name in BESIDE]
    swaps = 0
    while not told:
        place = draw.choice([*inside, *beside])
        target = outside / place.relative_to(copy) if place in inside else outside
        swaps += swapped(Path(os.path.normpath(place)), target, draw.choice(PAUSES))
    return swaps


def swapped(place: Path, target: Path, seconds: float) -> bool:
    """Have a link in the place of a folder for a moment; whether there was a folder."""
    away = place.with_name(f"{place.name}.away")
    if place.is_symlink() or not place.is_dir():
        return False
    try:
        place.rename(away)
        place.symlink_to(target)
        time.sleep(seconds)
    except OSError:
        pass
    try:
        if place.is_symlink():
            place.unlink()
        if not place.exists():
            away.rename(place)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
