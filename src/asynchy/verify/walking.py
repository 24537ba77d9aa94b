"""The files that lie at home in a copy, in order of their path, in constant memory."""

from __future__ import annotations

import heapq
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from asynchy.tree import Tree

_OURS = b".asynchy-"
"""What transfers that were cut off leave among the data begins so."""
_IN_MEMORY = 20_000
"""Names of one folder that are sorted at a time; those of a larger folder go through a file."""
_READ = 64 << 10


def files_below(tree: Tree, on_error: Callable[[bytes, OSError], None]) -> Iterator[bytes]:
    """The path of every regular file, in the order of its bytes; links are not followed.

    `on_error` hears of folders that cannot be listed. What asynchy itself leaves is left out.
    """
    # A folder sorts as its files do: with the slash behind its name.
    above: list[tuple[bytes, Iterator[bytes]]] = [(b"", iter([b"/"]))]
    while above:
        folder, names = above[-1]
        name = next(names, None)
        if name is None:
            above.pop()
        elif name.endswith(b"/"):
            path = folder + name if name != b"/" else b""
            try:
                above.append((path, _in_order(_below(tree, path.removesuffix(b"/")))))
            except OSError as error:
                on_error(path.removesuffix(b"/") or b".", error)
        else:
            yield folder + name


def _below(tree: Tree, folder: bytes) -> Iterator[bytes]:
    """The names in a folder, a slash behind those of folders."""
    for name, is_folder in tree.entries(folder):
        if not name.startswith(_OURS):
            yield name + b"/" if is_folder else name


def _in_order(names: Iterable[bytes]) -> Iterator[bytes]:
    """Names in the order of their bytes, however many they are; all are taken at once."""
    few: list[bytes] = []
    file: IO[bytes] | None = None  # `_merged` closes it
    ends = [0]
    for name in names:
        few.append(name)
        if len(few) >= _IN_MEMORY:
            file = file or tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the names
            file.write(b"".join(one + b"\0" for one in sorted(few)))
            ends.append(file.tell())
            few = []
    few.sort()
    if file is None:
        return iter(few)
    file.flush()
    return _merged(file, ends, few)


def _merged(file: IO[bytes], ends: list[int], few: list[bytes]) -> Iterator[bytes]:
    with file:
        runs = [_read(file, start, end) for start, end in itertools.pairwise(ends)]
        yield from heapq.merge(*runs, few)


def _read(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Names that were written between two places of a file."""
    rest = b""
    while start < end:
        block = os.pread(file.fileno(), min(_READ, end - start), start)
        start += len(block)
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
