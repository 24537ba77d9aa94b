"""The files that are at home in a copy, in order of their path, in constant memory."""

from __future__ import annotations

import heapq
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.remote_names import OWN_PREFIX

_MAX_NAMES_IN_MEMORY = 20_000
"""Names of one folder that are sorted at a time; those of a larger folder go through a file."""
_READ_BYTES = 64 << 10


def files_below(
    tree: SafeTree, on_error: Callable[[bytes, OSError], None], *, others: bool = False
) -> Iterator[bytes]:
    """The path of every regular file, in the order of its bytes; links are not followed.

    `on_error` gets the folders that cannot be listed. asynchy's own files are left out.
    `others`: links and special files, too.
    """
    folder = b""
    # A folder sorts as its files do: with the slash behind its name.
    stack = [(0, _in_order(iter([b"/"])))]
    """Of each folder from the top to `folder` the length of its name, and the names in it."""
    while stack:
        length, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            folder = folder[: len(folder) - length]
        elif name.endswith(b"/"):
            added = name if name != b"/" else b""
            path = (folder + added).removesuffix(b"/")
            try:
                stack.append((len(added), _in_order(_names_in(tree, path, others=others))))
                folder += added
            except OSError as error:
                on_error(path or b".", error)
        else:
            yield folder + name


def _names_in(tree: SafeTree, folder: bytes, *, others: bool) -> Iterator[bytes]:
    """The names in a folder, a slash behind those of folders."""
    for name, is_folder in tree.entries(folder, others=others):
        if not name.startswith(OWN_PREFIX):
            yield name + b"/" if is_folder else name


def _in_order(names: Iterable[bytes]) -> Iterator[bytes]:
    """Names in the order of their bytes, however many they are; all are taken at once."""
    names_in_memory: list[bytes] = []
    file: IO[bytes] | None = None  # `_merged` closes it
    ends = [0]
    for name in names:
        names_in_memory.append(name)
        if len(names_in_memory) >= _MAX_NAMES_IN_MEMORY:
            file = file or tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the names
            file.write(b"".join(name + b"\0" for name in sorted(names_in_memory)))
            ends.append(file.tell())
            names_in_memory = []
    names_in_memory.sort()
    if file is None:
        return iter(names_in_memory)
    file.flush()
    return _merged(file, ends, names_in_memory)


def _merged(file: IO[bytes], ends: list[int], names_in_memory: list[bytes]) -> Iterator[bytes]:
    with file:
        runs = [_read(file, start, end) for start, end in itertools.pairwise(ends)]
        yield from heapq.merge(*runs, names_in_memory)


def _read(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Names that were written between two places of a file."""
    partial = b""
    while start < end:
        block = os.pread(file.fileno(), min(_READ_BYTES, end - start), start)
        start += len(block)
        *names, partial = (partial + block).split(b"\0")
        yield from names
