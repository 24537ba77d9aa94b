"""Very many empty files, to measure with what does not depend on their size."""

from __future__ import annotations

import os
from pathlib import Path


def make_empty(folder: Path, files: int, each: int) -> None:
    """Make them below a folder, `each` in a folder of their own."""
    for first in range(0, files, each):
        group = folder / f"run_{first // each:05}"
        group.mkdir(parents=True)
        for at in range(first, min(first + each, files)):
            os.close(os.open(group / f"scan_{at:07}.cbf", os.O_CREAT | os.O_WRONLY, 0o644))
