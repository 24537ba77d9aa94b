"""On which kind of file system a path lies: SQLite's locks do not hold on a network's."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK = frozenset(
    {
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs",
        "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "panfs", "smb3", "smbfs", "virtiofs", "wekafs",
    }
)  # fmt: skip


def network_file_system(path: Path) -> str | None:
    """The kind of network file system that the path lies on; None where it is a local one."""
    kind = kind_at(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), path.resolve())
    return kind if kind in NETWORK else None


def kind_at(mountinfo: str, path: Path) -> str | None:
    """The file system type of the last mount that holds the path, as proc(5) tells mounts."""
    found: str | None = None
    for line in mountinfo.split("\n"):
        fields, separator, rest = line.partition(" - ")
        # A later mount lies on top of the earlier ones, also of deeper ones.
        if separator and path.is_relative_to(_unescaped(fields.split(" ")[4])):
            found = rest.split(" ")[0]
    return found


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
