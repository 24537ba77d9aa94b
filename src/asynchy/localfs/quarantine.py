"""Files at home that differ from the facility's, taken out of a copy and kept beside it."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime
from pathlib import Path

from asynchy.localfs.kept_files import (
    MISMATCH,
    REPLACED,
    UNREPORTED,
    KeptFolder,
    dated_folders,
    folder_beside,
    new_folder,
)
from asynchy.localfs.safe_tree import SafeTree, same_bytes
from asynchy.model.experiment import Copy
from asynchy.model.verification import CopyFile


class Quarantine:
    """Keeps files of one copy aside; a context manager for one thread. Methods raise OSError.

    Damaged files go to quarantine. Files whose bytes are as they were proven are earlier versions:
    the facility's file changed, and its size and time did not.
    """

    def __init__(self, copy: Copy, now: datetime) -> None:
        self._copy = copy
        kept_folders = (
            dated_folders(copy, folder_beside(copy, end)) for end in (MISMATCH, REPLACED)
        )
        self._kept_folders = [folder for dated in kept_folders for _, folder in dated]
        self._damaged = KeptFolder(copy, new_folder(copy, MISMATCH, now))
        self._earlier = KeptFolder(copy, new_folder(copy, REPLACED, now, UNREPORTED))
        self._tree = SafeTree.of(copy)

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()
        self._damaged.close()
        self._earlier.close()

    def is_edited(self, file: CopyFile) -> bool:
        """Whether a person changed a file since it arrived: it is left alone."""
        return file.is_edited(self._tree.find(file.path))

    def remove_from_copy(self, file: CopyFile) -> str | None:
        """Take a file out of the copy; the outcome as text for people; None if there was none.

        A file with the same bytes as a kept one is not kept twice. Bytes are compared, not times:
        with a clock that was wrong once, the only good version would pass for a kept one.
        """
        if self._tree.find(file.path) is None:
            return None
        if any(self._has_same(folder, file.path) for folder in self._kept_folders):
            self._tree.remove(file.path)
            return "an equal one is kept already"
        if self._is_as_proven(file):
            self._earlier.move(self._tree, file.path)
            return "the facility's has other bytes now; the earlier version is kept"
        self._damaged.move(self._tree, file.path)
        return f"kept in {self._damaged.path}"

    def _is_as_proven(self, file: CopyFile) -> bool:
        if file.sha256 is None:
            return False
        with open(self._tree.open(file.path), "rb") as opened:  # noqa: PTH123 - no path leads there
            return hashlib.file_digest(opened, "sha256").digest() == file.sha256

    def _has_same(self, folder: Path, path: bytes) -> bool:
        with (
            contextlib.suppress(OSError),
            SafeTree(folder, self._copy.project_folder) as tree,
        ):
            return tree.find(path) is not None and same_bytes(tree, self._tree, path)
        return False
