"""The tree of a copy at home, worked on so that nothing outside it is ever touched.

Every folder is opened from the one above it, and a symbolic link is never followed: whatever the
facility calls its files, and whatever lies at home already, nothing leads out of the copy.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.domain.experiment import Copy, Entry
from asynchy.domain.paths import is_inside
from asynchy.domain.text import shown
from asynchy.ssh.rsync_output import cause

_OPEN = 100
"""Folders that are kept open."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABOVE = 0o2770
"""Folders that we make above the data: the project's group works in them, others stay out."""
_libc = ctypes.CDLL(None, use_errno=True)


def make_folders(copy: Copy) -> None:
    """Make what is missing below the project folder, never the project folder itself.

    Raises:
        OSError: one of them cannot be made.
    """
    folder = copy.project_folder
    for part in copy.destination.relative_to(copy.project_folder).parts:
        folder /= part
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        folder.chmod(_ABOVE)


def scratch_of(copy: Copy) -> Path:
    """The folder beside the data for files on their way (docs/decisions/0007)."""
    return copy.destination.parent / f".asynchy-{copy.destination.name}"


def flush(descriptor: int) -> None:
    """Have everything that was written to its file system on the disks: syncfs(2).

    Raises:
        OSError: some of it could not be written.
    """
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def why(error: OSError) -> tuple[str, str | None]:
    """Why something could not be written at home, and what to do about it."""
    found = cause(f"mkstemp: {error.strerror} ({error.errno})")
    if found is not None:
        return found.reason, found.hint
    name = f"{shown(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{name}{error.strerror or error}", None


def is_about_one_file(error: OSError) -> bool:
    """Whether an error says that something else lies in the way, and not that nothing can go on."""
    return error.errno in (
        errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP, errno.ENOTEMPTY,
        errno.ENAMETOOLONG,
    )  # fmt: skip


class Home:
    """A copy's tree. For one thread; its methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)

    def flush(self) -> None:
        """Have all of it on the disks."""
        flush(self._root)

    def find(self, path: bytes) -> os.stat_result | None:
        """What lies there, a symbolic link not followed; None where nothing does."""
        try:
            folder, name = self._place(path)
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def place(self, scratch: int, temporary: str, path: bytes) -> None:
        """Put a file that is whole in its place, over an older one."""
        folder, name = self._place(path)
        os.rename(temporary, name, src_dir_fd=scratch, dst_dir_fd=folder)

    def make_folder(self, entry: Entry) -> None:
        """Make a folder where there is none; those above it are there."""
        if entry.path == b".":
            return
        folder, name = self._place(entry.path)
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise
            return
        self.settle(entry)

    def settle(self, entry: Entry) -> None:
        """Give a file or folder that is there the mode and the time that it is to have."""
        folder, name = self._place(entry.path)
        # O_PATH needs no permission to read; a link would be opened itself, and then refused.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            found = os.fstat(descriptor)
            handle = f"/proc/self/fd/{descriptor}"
            if stat.S_IMODE(found.st_mode) != entry.mode_at_home:
                os.chmod(handle, entry.mode_at_home)  # noqa: PTH101 - no path of ours
            if found.st_mtime_ns // 1_000_000_000 != entry.modified:
                os.utime(handle, (entry.modified, entry.modified))
        finally:
            os.close(descriptor)

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """The folder that a path lies in, opened, and its name there."""
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
        opened = os.open(name, _FOLDER, dir_fd=self._folder(above))
        self._open[path] = opened
        if len(self._open) > _OPEN:
            os.close(self._open.popitem(last=False)[1])
        return opened
