"""Where made experiments are put: in memory where there is plenty, else on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MIN_FREE_BYTES = 12 * 2**30
"""Bytes; the largest made file has 4 GiB, and may be there twice."""


def new_folder(prefix: str) -> Path:
    """A new folder, below TMPDIR where that is set, else in memory where there is plenty."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=None if "TMPDIR" in os.environ else memory()))


def memory() -> Path | None:
    """Where files are kept in memory; None where that is not plenty."""
    memory = Path("/dev/shm")
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        roomy = min(shutil.disk_usage(memory).free, available) > _MIN_FREE_BYTES
    except (OSError, ValueError):
        return None
    return memory if roomy and os.access(memory, os.W_OK) else None


def remove(folder: Path) -> None:
    """Remove a folder with all in it, also folders without write or read permission."""
    folders = [os.fsencode(folder)]
    while folders:
        path = folders.pop()
        # Before it is listed: an ordinary user may have no right to read it.
        Path(os.fsdecode(path)).chmod(0o700)
        with os.scandir(path) as entries:
            folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    shutil.rmtree(os.fsencode(folder))
