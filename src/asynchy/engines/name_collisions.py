"""Finds listed names that lead to one file at home, before anything is fetched there.

The behaviour of the file system is tried on files of asynchy. If it keeps names as they are,
nothing else is checked.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import unicodedata
from collections.abc import Iterator

from asynchy.engines.base import FileSource
from asynchy.localfs.copy_tree import make_if_missing
from asynchy.localfs.safe_tree import FOLDER, remove_tree
from asynchy.localfs.scratch_folder import Scratch

_NAMES = "names"
"""A folder in the one for files on their way."""
_ACCENT = "\u00e9"


def colliding_names(scratch: Scratch, contents: FileSource) -> dict[bytes, bytes]:
    """Paths that lead to the same file at home as another path: path -> that other path.

    The other path is that of the file that has arrived there, or the first one listed.

    Raises:
        OSError: no file can be made in the folder for files on their way.
    """
    with _trial(scratch) as trial:
        case = trial.is_one("a", "A")
        accents = trial.is_one(_ACCENT, unicodedata.normalize("NFD", _ACCENT))
        if not (case or accents):
            return {}
        collisions: dict[bytes, bytes] = {}
        alike: dict[str, list[bytes]] = {}
        for entry in itertools.chain(contents.folders(), contents.files(sys.maxsize)):
            key = unicodedata.normalize("NFC", os.fsdecode(entry.path))
            paths = alike.setdefault(key.casefold() if case else key, [])
            other = next((path for path in paths if trial.are_one(path, entry.path)), None)
            if other is None:
                paths.append(entry.path)
            elif _has_arrived(contents, entry.path) and not _has_arrived(contents, other):
                paths[paths.index(other)] = entry.path
                collisions |= {
                    path: entry.path for path, target in collisions.items() if target == other
                }
                collisions[other] = entry.path
            else:
                collisions[entry.path] = other
        return collisions


def _has_arrived(contents: FileSource, path: bytes) -> bool:
    """Whether it is known that a file of this very name came home once."""
    return contents.recorded(path) is not None


class _NameTrial:
    """Tries which names lead to one file, in a folder of asynchy."""

    def __init__(self, folder: int) -> None:
        self._folder = folder

    def is_one(self, name: str | bytes, other_name: str | bytes) -> bool:
        """Whether two different names lead to one file."""
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self._folder))
        except OSError:  # a name that home cannot hold: the file is refused for that
            return False
        try:
            os.stat(other_name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        finally:
            os.unlink(name, dir_fd=self._folder)
        return True

    def are_one(self, path: bytes, other_path: bytes) -> bool:
        """Whether two different paths lead to one place."""
        pairs = zip(path.split(b"/"), other_path.split(b"/"), strict=True)
        return all(
            name == other_name or self.is_one(name, other_name) for name, other_name in pairs
        )


@contextlib.contextmanager
def _trial(scratch: Scratch) -> Iterator[_NameTrial]:
    make_if_missing(scratch.descriptor, _NAMES)
    folder = os.open(_NAMES, FOLDER, dir_fd=scratch.descriptor)
    try:
        yield _NameTrial(folder)
    finally:
        os.close(folder)
        remove_tree(scratch.descriptor, _NAMES)
