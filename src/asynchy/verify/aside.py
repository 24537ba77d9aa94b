"""Files at home that differ from the facility's, taken out of a copy and kept beside it."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from asynchy.domain.experiment import Copy
from asynchy.domain.level import Held
from asynchy.kept_files import MISMATCH, KeptFolder, dated_folders, folder_beside, new_folder
from asynchy.tree import Tree


class Aside:
    """Keeps files of one copy aside; a context manager for one thread. Methods raise OSError."""

    def __init__(self, copy: Copy, now: datetime) -> None:
        self._copy = copy
        self._before = list(dated_folders(copy, folder_beside(copy, MISMATCH)))
        self._kept = KeptFolder(copy, new_folder(copy, MISMATCH, now))
        self._tree = Tree.of(copy)

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()
        self._kept.close()

    @property
    def folder(self) -> Path:
        """Where those of this time are."""
        return self._kept.path

    def is_edited(self, file: Held) -> bool:
        """Whether a person changed a file since it arrived: it is theirs, and stays."""
        return file.is_edited(self._tree.find(file.path))

    def take(self, file: Held) -> bool | None:
        """Take a file out of the copy; whether it is kept, or None where none was there.

        What was fetched in place of one that is kept, and differs as well, is not kept, too.
        """
        if self._tree.find(file.path) is None:
            return None
        if self._is_kept(file):
            self._tree.remove(file.path)
            return False
        self._kept.move(self._tree, file.path)
        return True

    def _is_kept(self, file: Held) -> bool:
        since = file.checked.replace(microsecond=0)
        return any(self._has(folder, file.path) for when, folder in self._before if when >= since)

    def _has(self, folder: Path, path: bytes) -> bool:
        with (
            contextlib.suppress(FileNotFoundError),
            Tree(folder, self._copy.project_folder) as tree,
        ):
            return tree.find(path) is not None
        return False
