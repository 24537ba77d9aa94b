"""Folders beside a copy for files that were taken out of it, for people to look at.

    data/frames/x.h5
    data.asynchy-replaced/20261124T140500Z/frames/x.h5    the facility had a newer one
    data.asynchy-mismatch/20261124T140500Z/frames/x.h5    its bytes differed from the facility's

They are beside the data and not among them, so no transfer, audit or listing of the copy meets
them. Members of the project may write beside the data, too. So only folders of our own user are
used, and no symbolic link is followed: if something else has the name, another name is taken.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.localfs.safe_tree import (
    FOLDER,
    SafeTree,
    is_own_folder,
    is_there,
    opened,
    own_folder_name,
    remove_tree,
)
from asynchy.model.experiment import Copy

MISMATCH = ".asynchy-mismatch"
REPLACED = ".asynchy-replaced"
UNREPORTED = "-unreported"
"""The end of the name of a folder that was not reported yet: its run goes on, or was killed."""
CHANGED_AT_HOME = "-changed-at-home"
"""The end of the name of a folder with versions that people had made: the facility lost nothing."""
_NAME = "%Y%m%dT%H%M%SZ"
_OWN_NAME = re.compile(rf"(\d{{8}}T\d{{6}}Z)(-\d+)*({CHANGED_AT_HOME})?({UNREPORTED})?", re.I)
"""Some file systems show names in lower case."""
_MODE = 0o2770
"""The project's group works in them, others stay out."""


def folder_beside(copy: Copy, suffix: str) -> Path:
    """Where files of a copy are kept, whether or not there is anything yet.

    Raises:
        OSError: the folder that the copy is in cannot be opened.
    """
    parent = copy.destination.parent
    name = f"{copy.destination.name}{suffix}"
    try:
        parent_fd = opened(copy.project_folder, parent)
    except FileNotFoundError:
        return parent / name
    try:
        return parent / own_folder_name(parent_fd, name)
    finally:
        os.close(parent_fd)


def dated_folders(copy: Copy, folder: Path) -> Iterator[tuple[datetime, Path]]:
    """The folders of each time in a folder where files are kept, the earliest first.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        descriptor = opened(copy.project_folder, folder)
    except FileNotFoundError:
        return
    try:
        names = sorted(os.listdir(descriptor))  # noqa: PTH208 - no path leads there
        own_names = [name for name in names if is_own_folder(descriptor, name)]
    finally:
        os.close(descriptor)
    for name in own_names:
        if (time := _time(name)) is not None:
            yield time, folder / name


def new_folder(copy: Copy, suffix: str, now: datetime, end: str = "") -> Path:
    """A free path for files that are taken out of a copy from now on; nothing is made yet.

    Its name ends with `end`.

    Raises:
        OSError: the folder that the copy is in, or the one beside it, cannot be opened.
    """
    folder = folder_beside(copy, suffix)
    stamp = now.astimezone(UTC).strftime(_NAME)
    try:
        descriptor = opened(copy.project_folder, folder)
    except FileNotFoundError:
        return folder / f"{stamp}{end}"
    try:
        return folder / _free_name(descriptor, stamp, end)
    finally:
        os.close(descriptor)


def rename(copy: Copy, dated: Path, name: str) -> Path:
    """Give the folder of one time another name in the same folder.

    Raises:
        OSError: it could not be renamed.
    """
    folder = opened(copy.project_folder, dated.parent)
    try:
        free = _free_name(folder, name)
        os.rename(dated.name, free, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
    return dated.with_name(free)


def _free_name(folder: int, name: str, end: str = "") -> str:
    """A name that nothing in an opened folder has: with a number, if it has to be."""
    numbered = (f"{name}-{number}{end}" for number in itertools.count(2))
    names = itertools.chain([f"{name}{end}"], numbered)
    return next(free_name for free_name in names if not is_there(folder, free_name))


def remove(copy: Copy, dated: Path) -> None:
    """Remove the folder of one time, and the one that it is in if nothing else is in that.

    Raises:
        OSError: some of it could not be removed.
    """
    folder = opened(copy.project_folder, dated.parent)
    try:
        remove_tree(folder, dated.name)
    finally:
        os.close(folder)
    _remove_if_empty(copy, dated.parent)


def remove_if_empty(copy: Copy, dated: Path) -> None:
    """Remove the folder of one time if there is nothing in it, and the one that it is in as well.

    In the folder of a run, folders without files count as nothing: the run made them for files that
    then could not be taken out of the copy.

    Raises:
        OSError: it could not be removed.
    """
    if dated.name.endswith(UNREPORTED):
        _remove_empty_folders(copy, dated)
    _remove_if_empty(copy, dated)
    _remove_if_empty(copy, dated.parent)


def _remove_empty_folders(copy: Copy, dated: Path) -> None:
    try:
        opened_tree = SafeTree(dated, copy.project_folder)
    except FileNotFoundError:  # it was reported, and has another name
        return
    with opened_tree as tree:
        folders, index = [b""], 0
        while index < len(folders):
            prefix = folders[index] and folders[index] + b"/"
            folders += [
                prefix + name for name, is_folder in tree.entries(folders[index]) if is_folder
            ]
            index += 1
        for folder in reversed(folders[1:]):
            tree.drop_empty_folders(folder + b"/")


def _remove_if_empty(copy: Copy, folder: Path) -> None:
    parent = opened(copy.project_folder, folder.parent)
    try:
        os.rmdir(folder.name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
    finally:
        os.close(parent)


class KeptFolder:
    """The folder of one time, made when the first file is kept in it; a context manager.

    For one thread; its methods raise OSError.
    """

    def __init__(self, copy: Copy, path: Path) -> None:
        self.path = path
        self._project = copy.project_folder
        self._tree: SafeTree | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folders that are open."""
        if self._tree is not None:
            self._tree.close()

    def link(self, tree: SafeTree, path: bytes) -> int | None:
        """Keep a file that is about to be replaced: by a second name, so that it stays in place.

        The inode of the file is returned if it has that second name.

        It is moved instead where a second name cannot be made, for example of another user's file,
        and copied if the copy is a file system of its own.
        If it was replaced before in the same run, the first version is the one that is kept.
        """
        if self._opened().find(path) is not None:
            return None
        try:
            tree.link(path, self._opened())
            linked = self._opened().find(path)
            return None if linked is None else linked.st_ino
        except OSError as error:
            if error.errno == errno.EXDEV:
                tree.copy(path, self._opened())
            elif error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                tree.move(path, self._opened())
            else:
                raise
        return None

    def add_version(self, folder: int, name: str | bytes, path: bytes) -> None:
        """Keep a further version of a file, which has a temporary name in an open folder."""
        tree = self._opened()
        free = path
        for number in itertools.count(2):
            if tree.find(free) is None:
                break
            free = path + f".{number}".encode()
        tree.receive(folder, name, free)

    def move(self, tree: SafeTree, path: bytes) -> None:
        """Take a file out of a copy and keep it."""
        tree.move(path, self._opened())

    def _opened(self) -> SafeTree:
        if self._tree is None:
            for folder in (self.path.parent, self.path):
                parent = opened(self._project, folder.parent)
                try:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder.name, 0o700, dir_fd=parent)
                        _open_up(parent, folder.name)
                finally:
                    os.close(parent)
            self._tree = SafeTree(self.path, self._project)
        return self._tree


def _open_up(parent: int, name: str) -> None:
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        os.fchmod(descriptor, _MODE)
    finally:
        os.close(descriptor)


def _time(name: str) -> datetime | None:
    """The time in a folder name that asynchy gave; None if a person renamed the folder."""
    match = _OWN_NAME.fullmatch(name)
    try:
        return datetime.strptime(match[1], _NAME).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
