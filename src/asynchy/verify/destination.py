"""The destination's file system: is the project there, is there room, is it on the disk."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from asynchy.plan.decide import Room

_libc = ctypes.CDLL(None, use_errno=True)


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def room(folder: Path) -> Room:
    """What an unprivileged user may still write in the folder's file system."""
    found = os.statvfs(folder)
    # Some file systems count no inodes and say 0 of 0.
    inodes = found.f_favail if found.f_files else None
    return Room(bytes=found.f_bavail * found.f_frsize, inodes=inodes)


def flush(folder: Path) -> None:
    """Have everything that was written to the folder's file system on its disks: syncfs(2).

    Raises:
        OSError: some of it could not be written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
