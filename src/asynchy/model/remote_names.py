"""Names at the facility: which may become paths at home, and which are fetched."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

_LEADING_OUT = frozenset({b"", b".", b".."})
OWN_PREFIX = b".asynchy-"
"""The prefix of asynchy's own files in a copy: files of the facility with it are not fetched."""


def is_inside(path: bytes) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    if path == b".":
        return True
    return b"\0" not in path and _LEADING_OUT.isdisjoint(path.split(b"/"))


def is_name(name: bytes) -> bool:
    """Whether it is one name, and no path that leads anywhere else."""
    return name not in _LEADING_OUT and b"/" not in name and b"\0" not in name


def is_wanted(name: bytes, *, dot_files: bool) -> bool:
    """Whether a file or folder of that name is brought home.

    Dot files are not, save `.info`, unless `dot_files`; names with asynchy's prefix never are.
    """
    if not name.startswith(b".") or name == b".info":
        return True
    return dot_files and not name.startswith(OWN_PREFIX)


def target_at_home(
    source: bytes, path: bytes, target: bytes, is_folder: Callable[[bytes], bool]
) -> bytes | None:
    """The target at home of a link in an experiment; None: it may lead out of the experiment.

    `source` is the experiment's folder at the facility, `path` that of the link in it. A relative
    target stays as it is, unless it goes through a folder above the experiment; an absolute one
    becomes relative. After a name, `..` may lead anywhere, for the name may be another link; unless
    it is that of the experiment, or of a folder in it: `is_folder` says so of a path in it.
    """
    folder = path.rpartition(b"/")[0]
    top = [name for name in source.split(b"/") if name]
    parts = [] if target.startswith(b"/") else [*top, *filter(None, folder.split(b"/"))]
    stays_inside, names = not target.startswith(b"/"), 0
    for name in target.split(b"/"):
        if name in (b"", b"."):
            continue
        if name == b"..":
            if names:
                inside = b"/".join(parts[len(top) :])
                is_known = parts[: len(top)] == top and (not inside or is_folder(inside))
                if not is_known:
                    return None
                names -= 1
            parts = parts[:-1]
            stays_inside &= len(parts) >= len(top)
        else:
            names += 1
            parts.append(name)
    if not target or parts[: len(top)] != top:
        return None
    if stays_inside:
        return target
    inside = b"/".join(parts[len(top) :]) or b"."
    return posixpath.relpath(b"/" + inside, b"/" + folder)
