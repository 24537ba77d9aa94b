"""The files that lie at home in a copy, in order of their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asynchy.tree import Tree

_OURS = b".asynchy-"
"""What transfers that were cut off leave among the data begins so."""


def files_below(tree: Tree, on_error: Callable[[bytes, OSError], None]) -> Iterator[bytes]:
    """The path of every regular file, in the order of its bytes; links are not followed.

    `on_error` hears of folders that cannot be listed. What asynchy itself leaves is left out.
    """
    # A folder sorts as its files do: with the slash behind its name.
    pending = [b""]
    while pending:
        path = pending.pop()
        if path and not path.endswith(b"/"):
            yield path
            continue
        try:
            entries = tree.entries(path.removesuffix(b"/"))
        except OSError as error:
            on_error(path.removesuffix(b"/") or b".", error)
            continue
        below = [
            path + name + (b"/" if is_folder else b"")
            for name, is_folder in entries
            if not name.startswith(_OURS)
        ]
        pending += sorted(below, reverse=True)
