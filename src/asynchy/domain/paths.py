"""Names at the facility as paths: what may become one at home, and what is of worth."""

from __future__ import annotations

_LEADING_OUT = frozenset({b"", b".", b".."})


def is_inside(path: bytes) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    if path == b".":
        return True
    return b"\0" not in path and _LEADING_OUT.isdisjoint(path.split(b"/"))


def is_name(name: bytes) -> bool:
    """Whether it is one name, and no path that leads anywhere else."""
    return name not in _LEADING_OUT and b"/" not in name and b"\0" not in name


def is_wanted(name: bytes) -> bool:
    """Whether a file or folder of that name is brought home: dot files are not, save `.info`."""
    return not name.startswith(b".") or name == b".info"
