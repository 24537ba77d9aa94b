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

    def __init__(self, copy_tree: SafeTree) -> None:
        self._copy_tree = copy_tree
        self._ignores_case: bool | None = None
        """None: no name with a letter was found yet."""
        self._names: dict[tuple[int, int], bytes] = {}
        """By device and inode. Where names are kept as they are, those of accents alone."""
        self._by_name: dict[str, bytes] | None = None
        """By the name without case, if one file has several inode numbers."""

    def earlier_path(self, path: bytes, file_stat: os.stat_result) -> bytes | None:
        """The listed path that led to the same file before; None: none did.

        Raises:
            OSError: a folder at home cannot be read.
        """
        name = path.rpartition(b"/")[2]
        if self._ignores_case is None and name.swapcase() != name:
            self._try_case(path, file_stat)
        if self._by_name is not None:
            return self._other_name(path, self._by_name)
        if not self._ignores_case and name.isascii():
            return None
        earlier = self._names.setdefault(_identity(file_stat), path)
        if earlier == path or self._is_hard_link(path, file_stat):
            return None
        return earlier

    def _try_case(self, path: bytes, file_stat: os.stat_result) -> None:
        """Find out with an existing file whether case matters."""
        parent, slash, name = path.rpartition(b"/")
        swapped = parent + slash + name.swapcase()
        swapped_stat = self._copy_tree.find(swapped)
        self._ignores_case = swapped_stat is not None and _identity(swapped_stat) == _identity(
            file_stat
        )
        if (
            swapped_stat is not None
            and not self._ignores_case
            and not self._has_both(path, swapped)
        ):
            self._ignores_case, self._by_name = True, {}

    def _other_name(self, path: bytes, by_name: dict[str, bytes]) -> bytes | None:
        key = unicodedata.normalize("NFC", os.fsdecode(path)).casefold()
        earlier = by_name.setdefault(key, path)
        return None if earlier == path or self._has_both(earlier, path) else earlier

    def _has_both(self, path: bytes, other_path: bytes) -> bool:
        """Whether two names are both in their folders, as they are spelled."""
        return self._is_spelled_so(path) and self._is_spelled_so(other_path)

    def _is_spelled_so(self, path: bytes) -> bool:
        parent, _, name = path.rpartition(b"/")
        return any(name == entry_name for entry_name, _ in self._copy_tree.entries(parent))

    def _is_hard_link(self, path: bytes, file_stat: os.stat_result) -> bool:
        """Whether a person gave a file this very name, too."""
        if stat.S_ISDIR(file_stat.st_mode) or file_stat.st_nlink == 1:
            return False
        return self._is_spelled_so(path)


def _identity(file_stat: os.stat_result) -> tuple[int, int]:
    return file_stat.st_dev, file_stat.st_ino


def is_alike(folder: int, name: bytes, other_folder: int, other_name: bytes) -> bool:
    """Whether two links lead to the same place, or two special files are of one kind."""
    file_stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
    other_stat = os.stat(other_name, dir_fd=other_folder, follow_symlinks=False)
    if stat.S_IFMT(file_stat.st_mode) != stat.S_IFMT(other_stat.st_mode):
        return False
    if not stat.S_ISLNK(file_stat.st_mode):
        return True
    return os.readlink(name, dir_fd=folder) == os.readlink(other_name, dir_fd=other_folder)
