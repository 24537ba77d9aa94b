"""Names at the facility as paths: what may become one at home, and what is of worth."""

from __future__ import annotations


def is_inside(path: bytes) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    if path == b".":
        return True
    parts = path.split(b"/")
    return b"\0" not in path and not any(part in (b"", b".", b"..") for part in parts)


def is_wanted(name: bytes) -> bool:
    """Whether a file or folder of that name is brought home: dot files are not, save `.info`."""
    return not name.startswith(b".") or name == b".info"
