"""The destination's file system: is the project there, is there room."""

from __future__ import annotations

import os
from pathlib import Path

from asynchy.domain.experiment import Copy
from asynchy.plan.decide import Room
from asynchy.tree import opened


def room_for(copy: Copy) -> tuple[int, Room]:
    """The device that a copy is on, or is going to be, and what may still be written there.

    Raises:
        OSError: the project folder cannot be opened, or a link is in the way.
    """
    folder = copy.destination
    while True:
        try:
            descriptor = opened(copy.project_folder, folder)
            break
        except FileNotFoundError:
            if folder == copy.project_folder:
                raise
            folder = folder.parent
    try:
        return os.fstat(descriptor).st_dev, room(descriptor)
    finally:
        os.close(descriptor)


def room(folder: Path | int) -> Room:
    """What an unprivileged user may still write in the folder's file system."""
    found = os.statvfs(folder)
    # Some file systems count neither blocks nor inodes, and say 0 of 0.
    inodes = found.f_favail if found.f_files else None
    return Room(bytes=found.f_bavail * found.f_frsize if found.f_blocks else None, inodes=inodes)
