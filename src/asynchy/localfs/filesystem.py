"""File systems and folders: their type, whether they hold data, and flushing them to disk."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

NETWORK = frozenset(
    {
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs",
        "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "panfs", "smb3", "smbfs", "virtiofs", "wekafs",
    }
)  # fmt: skip


def network_file_system(path: Path) -> str | None:
    """The kind of network file system that the path is on; None if it is a local one."""
    kind = kind_at(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), path.resolve())
    return kind if kind in NETWORK else None


def kind_at(mountinfo: str, path: Path) -> str | None:
    """The file system type at a path, by a table of mounts in the form of proc(5).

    The way down from the root decides: each mount names the one that it is on, and of several on
    the same one, the first on the way hides those below it.
    """
    mounts = [mount for line in mountinfo.split("\n") if (mount := _mount(line, path)) is not None]
    numbers = {mount.number for mount in mounts}
    candidates = [mount for mount in mounts if mount.parent not in numbers - {mount.number}]
    kind: str | None = None
    while candidates:
        nearest = min(reversed(candidates), key=lambda mount: len(mount.point.parts))
        kind = nearest.kind
        mounts.remove(nearest)
        candidates = [mount for mount in mounts if mount.parent == nearest.number]
    return kind


class _Mount(NamedTuple):
    number: str
    parent: str
    point: Path
    kind: str


def _mount(line: str, path: Path) -> _Mount | None:
    """A line of the table, if its mount is on the way to the path."""
    fields, separator, tail = line.partition(" - ")
    if not separator:
        return None
    number, parent, _, _, point, *_ = fields.split(" ")
    mount = _Mount(number, parent, Path(_unescaped(point)), tail.split(" ")[0])
    return mount if path.is_relative_to(mount.point) else None


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


def holds_data(folder: Path) -> bool:
    """Whether there is anything in the folder; one that cannot be read may hold something."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def fsync_path(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
