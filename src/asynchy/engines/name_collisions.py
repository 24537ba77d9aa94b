"""Listed names for which home has one place: found before anything is fetched to it.

What the file system does is tried on files of ours. Where it keeps names as they are, nothing else
is looked at.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import unicodedata
from collections.abc import Iterator

from asynchy.engines.base import FileSource
from asynchy.localfs.copy_tree import Scratch, made
from asynchy.localfs.safe_tree import FOLDER, remove_tree

_NAMES = "names"
"""A folder in the one for files on their way."""
_ACCENT = "\u00e9"


def taken_names(scratch: Scratch, contents: FileSource) -> dict[bytes, bytes]:
    """The paths whose place at home is another one's: by that one.

    It is that of the file that has arrived there, or else of the one that comes first.

    Raises:
        OSError: no file can be made in the folder for files on their way.
    """
    with _trial(scratch) as trial:
        case = trial.is_one("a", "A")
        accents = trial.is_one(_ACCENT, unicodedata.normalize("NFD", _ACCENT))
        if not (case or accents):
            return {}
        taken: dict[bytes, bytes] = {}
        alike: dict[str, list[bytes]] = {}
        for entry in itertools.chain(contents.folders(), contents.files(sys.maxsize)):
            key = unicodedata.normalize("NFC", os.fsdecode(entry.path))
            before = alike.setdefault(key.casefold() if case else key, [])
            other = next((path for path in before if trial.are_one(path, entry.path)), None)
            if other is None:
                before.append(entry.path)
            elif _has_arrived(contents, entry.path) and not _has_arrived(contents, other):
                before[before.index(other)] = entry.path
                taken |= {path: entry.path for path, place in taken.items() if place == other}
                taken[other] = entry.path
            else:
                taken[entry.path] = other
        return taken


def _has_arrived(contents: FileSource, path: bytes) -> bool:
    """Whether it is known that a file of this very name came home once."""
    return contents.recorded(path) is not None


class _NameTrial:
    """Tries which names lead to one file, in a folder of ours."""

    def __init__(self, folder: int) -> None:
        self._folder = folder

    def is_one(self, name: str | bytes, other: str | bytes) -> bool:
        """Whether two different names lead to one file."""
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self._folder))
        except OSError:  # a name that home cannot hold: the file is refused for that
            return False
        try:
            os.stat(other, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        finally:
            os.unlink(name, dir_fd=self._folder)
        return True

    def are_one(self, path: bytes, other: bytes) -> bool:
        """Whether two different paths lead to one place."""
        pairs = zip(path.split(b"/"), other.split(b"/"), strict=True)
        return all(name == twin or self.is_one(name, twin) for name, twin in pairs)


@contextlib.contextmanager
def _trial(scratch: Scratch) -> Iterator[_NameTrial]:
    made(scratch.descriptor, _NAMES)
    folder = os.open(_NAMES, FOLDER, dir_fd=scratch.descriptor)
    try:
        yield _NameTrial(folder)
    finally:
        os.close(folder)
        remove_tree(scratch.descriptor, _NAMES)
