"""Names at the facility as paths: what may become one at home, and what is worth fetching."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

_LEADING_OUT = frozenset({b"", b".", b".."})
OWN_PREFIX = b".asynchy-"
"""How the names begin of what asynchy itself puts into a copy: the facility's never get there."""


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

    Dot files are not, save `.info`, unless `dot_files`; what is named like our own never is.
    """
    if not name.startswith(b".") or name == b".info":
        return True
    return dot_files and not name.startswith(OWN_PREFIX)


def target_at_home(
    source: bytes, path: bytes, target: bytes, is_folder: Callable[[bytes], bool]
) -> bytes | None:
    """What a link in an experiment points to at home; None: it may lead out of the experiment.

    `source` is the experiment's folder at the facility, `path` that of the link in it. A relative
    target stays as it is, unless it goes through a folder above the experiment; an absolute one
    becomes relative. After a name, `..` may lead anywhere, for the name may be another link; unless
    it is that of the experiment, or of a folder in it: `is_folder` says so of a path in it.
    """
    folder = path.rpartition(b"/")[0]
    top = [name for name in source.split(b"/") if name]
    place = [] if target.startswith(b"/") else [*top, *filter(None, folder.split(b"/"))]
    stays, named = not target.startswith(b"/"), 0
    for name in target.split(b"/"):
        if name in (b"", b"."):
            continue
        if name == b"..":
            if named:
                inside = b"/".join(place[len(top) :])
                is_known = place[: len(top)] == top and (not inside or is_folder(inside))
                if not is_known:
                    return None
                named -= 1
            place = place[:-1]
            stays &= len(place) >= len(top)
        else:
            named += 1
            place.append(name)
    if not target or place[: len(top)] != top:
        return None
    if stays:
        return target
    inside = b"/".join(place[len(top) :]) or b"."
    return posixpath.relpath(b"/" + inside, b"/" + folder)
