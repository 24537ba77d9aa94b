"""The folders that rsync writes into, inside the scratch folder of a copy.

    .asynchy-data/rsync/tree     files that arrived, under the paths that they have in the copy
    .asynchy-data/rsync/links    symbolic links and special files

Nobody else gets there (mode 0700). An rsync is started in one of them, by its descriptor, so it
follows no path that a member of the project could change. What a run leaves in `tree` when it is
cut off is of use to the next one: whole files, and parts in `.asynchy-partial`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.localfs.copy_tree import STAGING, CopyTree, flush, make_if_missing
from asynchy.localfs.safe_tree import FOLDER, SafeTree, remove_tree
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.experiment import Entry
from asynchy.model.remote_names import target_at_home
from asynchy.ssh.rsync.fetcher import TEMPORARY
from asynchy.ssh.rsync.output import MUNGED

_TREE = "tree"
_LINKS = "links"
_BOOT = "boot"
"""Says since which boot of which machine files have been put into `tree`."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StagedTree(SafeTree):
    """A tree that rsync wrote. For one thread; its methods raise OSError."""

    @property
    def descriptor(self) -> int:
        """Its folder, open."""
        return self._root

    def place(self, entry: Entry, copy_tree: CopyTree) -> None:
        """Move a file to its place at home; see `CopyTree.place`."""
        folder, name = self._place(entry.path)
        copy_tree.place(folder, name, entry)

    def place_link(self, path: bytes, copy_tree: CopyTree) -> None:
        """Put a link or special file in its place; see `CopyTree.place_link`."""
        folder, name = self._place(path)
        copy_tree.place_link(folder, name, path)

    def correct_link(self, path: bytes, source: str) -> bool:
        """Set the target at home of a link from the folder `source` at the facility.

        False: it may lead out of the experiment, and is removed. Special files stay as they are.
        """
        folder, name = self._place(path)
        if not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return True
        stored = os.fsencode(os.readlink(name, dir_fd=folder))
        facility_target = stored.removeprefix(MUNGED)
        target = target_at_home(source.encode(), path, facility_target, self._is_folder)
        os.unlink(name, dir_fd=folder)
        if target is None:
            return False
        os.symlink(target, name, dir_fd=folder)
        return True

    def _is_folder(self, path: bytes) -> bool:
        file_stat = self.find(path)
        return file_stat is not None and stat.S_ISDIR(file_stat.st_mode)

    def drop(self, path: bytes) -> None:
        """Remove a file, or a folder with all that is in it."""
        folder, name = self._place(path)
        file_stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(file_stat.st_mode):
            remove_tree(folder, os.fsdecode(name))
        else:
            os.unlink(name, dir_fd=folder)

    def links(self) -> Iterator[bytes]:
        """The paths of all links and special files in it."""
        folders = [b""]
        while folders:
            folder = folders.pop()
            prefix = folder and folder + b"/"
            with os.scandir(self._folder(folder)) as entries:
                for entry in entries:
                    path = prefix + os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif not entry.is_file(follow_symlinks=False):
                        yield path


class Staging:
    """The folders that rsync writes into; a context manager. Methods raise OSError."""

    def __init__(self, scratch: Scratch) -> None:
        """Make them, or open those that an earlier run left; its temporary files go."""
        self._path = scratch.path / STAGING
        self._scratch = scratch.descriptor
        make_if_missing(self._scratch, STAGING)
        self._folder = os.open(STAGING, FOLDER, dir_fd=self._scratch)
        for name in set(os.listdir(self._folder)) - {_TREE, _BOOT}:  # noqa: PTH208 - no path
            _remove(self._folder, name)
        is_new = make_if_missing(self._folder, _TREE)
        self.tree = self.opened(_TREE)
        _remove(self.tree.descriptor, TEMPORARY)
        self.has_left = bool(os.listdir(self.tree.descriptor))  # noqa: PTH208
        """Whether an earlier run left anything of use."""
        os.mkdir(TEMPORARY, 0o700, dir_fd=self.tree.descriptor)
        self._is_flushed = self._same_boot(is_new=is_new)
        if self.has_left:
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.tree.close()
        os.close(self._folder)

    def opened(self, name: str = _TREE) -> StagedTree:
        """One of the trees, for a thread of its own; the caller closes it."""
        descriptor = os.open(name, FOLDER, dir_fd=self._folder)
        return StagedTree(self._path / name, descriptor=descriptor)

    def for_links(self) -> StagedTree:
        """A new tree for links and special files; the caller closes it."""
        os.mkdir(_LINKS, 0o700, dir_fd=self._folder)
        return self.opened(_LINKS)

    def flush(self) -> None:
        """Have all that rsync wrote on the disks."""
        flush(self._folder)

    def make_way(self, folder: bytes) -> None:
        """Remove a file that was left where a folder is to be now."""
        file_stat = self.tree.find(folder) if folder != b"." else None
        if file_stat is not None and not stat.S_ISDIR(file_stat.st_mode):
            self.tree.drop(folder)

    def completes(self, entry: Entry, copy_tree: CopyTree) -> bool:
        """Put a missing file in its place if an earlier run left it whole; else it is of no use.

        Unless the machine went down meanwhile: then its bytes may never have reached the disk, and
        rsync compares it with the facility's.
        """
        file_stat = self.tree.find(entry.path) if self.has_left else None
        if file_stat is None:
            return False
        if not entry.is_same(file_stat):
            self.tree.drop(entry.path)
            return False
        if self._is_flushed:
            self.tree.place(entry, copy_tree)
        return self._is_flushed

    def drop(self) -> None:
        """Remove all of it."""
        remove_tree(self._scratch, STAGING)

    def _same_boot(self, *, is_new: bool) -> bool:
        """Whether the machine has been up since the tree was made."""
        boot = _BOOT_ID.read_bytes()
        if is_new:
            _remove(self._folder, _BOOT)
            with open(os.open(_BOOT, _CREATE_FLAGS, 0o600, dir_fd=self._folder), "wb") as file:  # noqa: PTH123
                file.write(boot)
            return True
        try:
            descriptor = os.open(
                _BOOT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder
            )
        except FileNotFoundError:
            return False
        with open(descriptor, "rb") as file:  # noqa: PTH123
            return file.read() == boot


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        with contextlib.suppress(FileNotFoundError):
            remove_tree(folder, name)
