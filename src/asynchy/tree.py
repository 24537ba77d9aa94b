"""A tree of files at home, opened so that nothing outside it is ever touched.

Every folder is opened from the one above it, and a symbolic link is never followed: whatever the
facility calls its files, and whatever lies at home already, nothing leads out of the tree.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.domain import pulse
from asynchy.domain.paths import is_inside

_MADE = 0o770
"""Permission bits of folders that are made: the group works in them, others stay out."""
_OPEN = 100
"""Folders that are kept open."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened: never through a symbolic link."""
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """A tree at home. For one thread; its methods raise OSError."""

    def __init__(self, root: Path, project: Path | None = None) -> None:
        """Open it; from the project folder on, or from itself on, no symbolic link is followed."""
        self.root = root
        self._root = opened(project or root, root)
        self._open: OrderedDict[bytes, int] = OrderedDict()

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
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)

    def find(self, path: bytes) -> os.stat_result | None:
        """What lies there, a symbolic link not followed; None where nothing does."""
        try:
            folder, name = self._place(path)
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def entries(self, path: bytes) -> list[tuple[bytes, bool]]:
        """The names of the files and folders in a folder (the tree's own: empty).

        With each whether it is a folder; links and special files are left out.
        """
        with os.scandir(self._folder(path)) as found:
            return [
                (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False))
                for entry in found
                if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
            ]

    def open(self, path: bytes) -> int:
        """What lies there, opened to be read; a FIFO does not block."""
        folder, name = self._place(path)
        return os.open(name, _FILE, dir_fd=folder)

    def move(self, path: bytes, to: Tree) -> None:
        """Move what lies there to the same place in another tree; folders are made as needed."""
        folder, name = self._place(path)
        above, _, _ = path.rpartition(b"/")
        os.rename(name, name, src_dir_fd=folder, dst_dir_fd=to._made(above))

    def link(self, path: bytes, to: Tree) -> None:
        """Give what is there a second name at the same place in another tree (a hard link)."""
        folder, name = self._place(path)
        above, _, _ = path.rpartition(b"/")
        os.link(name, name, src_dir_fd=folder, dst_dir_fd=to._made(above), follow_symlinks=False)

    def remove(self, path: bytes) -> None:
        """Remove a file."""
        folder, name = self._place(path)
        os.unlink(name, dir_fd=folder)

    def _made(self, path: bytes) -> int:
        """A folder, opened; it and those above it are made where they are missing."""
        try:
            return self._folder(path)
        except FileNotFoundError:
            above, _, name = path.rpartition(b"/")
            os.mkdir(name, _MADE, dir_fd=self._made(above))
            return self._folder(path)

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """The folder that a path lies in, opened, and its name there."""
        pulse.beat()
        if not is_inside(path):
            raise ValueError(f"a path that leads out of the copy: {path!r}")
        above, _, name = path.rpartition(b"/")
        return self._folder(above), name

    def _folder(self, path: bytes) -> int:
        if not path:
            return self._root
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        above, _, name = path.rpartition(b"/")
        opened = os.open(name, FOLDER, dir_fd=self._folder(above))
        self._open[path] = opened
        if len(self._open) > _OPEN:
            os.close(self._open.popitem(last=False)[1])
        return opened


def opened(project: Path, folder: Path) -> int:
    """The descriptor of a folder below a project folder (docs/decisions/0021).

    No symbolic link on the way from there is followed: whoever may write in the project could put
    one in the place of a folder, and lead us where they may not write themselves.

    Raises:
        OSError: one of the folders is not there, or is something else.
    """
    return walk_down(project, folder, lambda above, name: os.open(name, FOLDER, dir_fd=above))


def walk_down(project: Path, folder: Path, step: Callable[[int, str], int]) -> int:
    """The descriptor of a folder, found step by step from the project folder down.

    Raises:
        OSError: a step failed, with the path that it was for.
    """
    path = project
    descriptor = os.open(project, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in folder.relative_to(project).parts:
        path /= part
        try:
            below = step(descriptor, part)
        except NotADirectoryError:
            reason = "a symbolic link or a file lies in the way; move it away"
            raise NotADirectoryError(errno.ENOTDIR, reason, str(path)) from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor
