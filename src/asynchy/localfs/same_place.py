"""Listed names that lead to one and the same file at home.

A file system that ignores case, or changes the form of accents, has one place for two names of the
facility. That is seen from the files themselves; nothing is written. Some of them number a file by
the name that it is asked for: there it is seen from the names in its folder.
"""

from __future__ import annotations

import os
import stat
import unicodedata

from asynchy.localfs.safe_tree import SafeTree


class SamePlace:
    """Sees, entry by entry, whether another listed name led to the same file."""

    def __init__(self, home: SafeTree) -> None:
        self._home = home
        self._ignores_case: bool | None = None
        """None: no name with a letter was found yet."""
        self._names: dict[tuple[int, int], bytes] = {}
        """By device and inode. Where names are kept as they are, those of accents alone."""
        self._by_name: dict[str, bytes] | None = None
        """By the name without case, where one file has several numbers."""

    def other(self, path: bytes, found: os.stat_result) -> bytes | None:
        """The listed path that led to what was found at this path before; None: none did.

        Raises:
            OSError: a folder at home cannot be read.
        """
        name = path.rpartition(b"/")[2]
        if self._ignores_case is None and name.swapcase() != name:
            self._try_case(path, found)
        if self._by_name is not None:
            return self._other_name(path, self._by_name)
        if not self._ignores_case and name.isascii():
            return None
        before = self._names.setdefault(_identity(found), path)
        if before == path or self._is_hard_link(path, found):
            return None
        return before

    def _try_case(self, path: bytes, found: os.stat_result) -> None:
        """See by a file that was found whether case matters."""
        above, slash, name = path.rpartition(b"/")
        swapped = above + slash + name.swapcase()
        twin = self._home.find(swapped)
        self._ignores_case = twin is not None and _identity(twin) == _identity(found)
        if twin is not None and not self._ignores_case and not self._has_both(path, swapped):
            self._ignores_case, self._by_name = True, {}

    def _other_name(self, path: bytes, by_name: dict[str, bytes]) -> bytes | None:
        key = unicodedata.normalize("NFC", os.fsdecode(path)).casefold()
        before = by_name.setdefault(key, path)
        return None if before == path or self._has_both(before, path) else before

    def _has_both(self, one: bytes, other: bytes) -> bool:
        """Whether two names are both in their folders, as they are spelled."""
        return self._is_spelled_so(one) and self._is_spelled_so(other)

    def _is_spelled_so(self, path: bytes) -> bool:
        above, _, name = path.rpartition(b"/")
        return any(name == own for own, _ in self._home.entries(above))

    def _is_hard_link(self, path: bytes, found: os.stat_result) -> bool:
        """Whether a person gave a file this very name, too."""
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            return False
        return self._is_spelled_so(path)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def is_alike(folder: int, name: bytes, other_folder: int, other: bytes) -> bool:
    """Whether two links lead to the same place, or two special files are of one kind."""
    one = os.stat(name, dir_fd=folder, follow_symlinks=False)
    two = os.stat(other, dir_fd=other_folder, follow_symlinks=False)
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(two.st_mode):
        return False
    if not stat.S_ISLNK(one.st_mode):
        return True
    return os.readlink(name, dir_fd=folder) == os.readlink(other, dir_fd=other_folder)
