"""The destination's file system: is the project there, is there room."""

from __future__ import annotations

import os
from pathlib import Path

from asynchy.localfs.safe_tree import opened
from asynchy.model.experiment import Copy
from asynchy.model.plan import FreeSpace

_MAX_BLOCK_BYTES = 65_536
"""Bytes."""
_DEFAULT_BLOCK_BYTES = 4096
"""Bytes."""


def free_space_for(copy: Copy) -> tuple[int, FreeSpace]:
    """The device that a copy is on, or is going to be, and what may still be written there.

    Raises:
        OSError: the project folder cannot be opened, or a link is in the way.
    """
    descriptor = _nearest(copy)
    try:
        return os.fstat(descriptor).st_dev, free_space(descriptor)
    finally:
        os.close(descriptor)


def block_for(copy: Copy) -> int:
    """Bytes in which the file system that a copy is on, or is going to be, gives space to files.

    1 where it does not tell, or is not there.
    """
    try:
        descriptor = _nearest(copy)
    except OSError:
        return 1
    try:
        block = os.statvfs(descriptor).f_frsize
    finally:
        os.close(descriptor)
    if block > _MAX_BLOCK_BYTES:  # what NFS and GPFS tell is how much they write at a time
        return _DEFAULT_BLOCK_BYTES
    return max(1, block)


def _nearest(copy: Copy) -> int:
    """The copy's folder, or the one nearest above it that is there, opened."""
    folder = copy.destination
    while True:
        try:
            return opened(copy.project_folder, folder)
        except FileNotFoundError:
            if folder == copy.project_folder:
                raise
            folder = folder.parent


def free_space(folder: Path | int) -> FreeSpace:
    """What an unprivileged user may still write in the folder's file system."""
    found = os.statvfs(folder)
    # Some file systems count neither blocks nor inodes, and say 0 of 0.
    inodes = found.f_favail if found.f_files else None
    return FreeSpace(
        bytes=found.f_bavail * found.f_frsize if found.f_blocks else None, inodes=inodes
    )
