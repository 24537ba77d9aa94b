"""The destination's file system: is the project there, is there room."""

from __future__ import annotations

import os
from pathlib import Path

from asynchy.plan.decide import Room


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
