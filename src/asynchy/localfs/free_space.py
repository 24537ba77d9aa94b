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
    """The device of a copy, or of its future place, and the free space there.

    Raises:
        OSError: the project folder cannot be opened, or a link is in the way.
    """
    descriptor = _open_nearest(copy)
    try:
        return os.fstat(descriptor).st_dev, free_space(descriptor)
    finally:
        os.close(descriptor)


def block_for(copy: Copy) -> int:
    """The block size in bytes of the file system of a copy, or of its future place.

    1 if it is not reported, or there is no such place.
    """
    try:
        descriptor = _open_nearest(copy)
    except OSError:
        return 1
    try:
        block = os.statvfs(descriptor).f_frsize
    finally:
        os.close(descriptor)
    if block > _MAX_BLOCK_BYTES:  # NFS and GPFS report their preferred write size
        return _DEFAULT_BLOCK_BYTES
    return max(1, block)


def _open_nearest(copy: Copy) -> int:
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
    """The space that an unprivileged user may still fill in the folder's file system."""
    fs_stat = os.statvfs(folder)
    # Some file systems count neither blocks nor inodes, and report 0 of 0.
    inodes = fs_stat.f_favail if fs_stat.f_files else None
    return FreeSpace(
        bytes=fs_stat.f_bavail * fs_stat.f_frsize if fs_stat.f_blocks else None, inodes=inodes
    )
