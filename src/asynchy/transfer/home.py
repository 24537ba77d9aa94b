"""The tree of a copy at home, worked on so that nothing outside it is ever touched.

Every folder is opened from the one above it, and a symbolic link is never followed: whatever the
facility calls its files, and whatever lies at home already, nothing leads out of the copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable
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
        OSError: one of them cannot be made, or is a symbolic link.
    """

    def make(above: int, name: str) -> int:
        made = _made(above, name)
        below = os.open(name, _FOLDER, dir_fd=above)
        if made:
            os.fchmod(below, _ABOVE)
        return below

    os.close(_walk(copy.project_folder, copy.destination, make))


def make_scratch(copy: Copy) -> Path:
    """Make the folder for files on their way, where it is not there yet.

    Raises:
        OSError: it cannot be made, is a symbolic link, or belongs to another user.
    """

    def make(above: int, name: str) -> int:
        _made(above, name)  # its setgid bit, if any, makes the files in it the project's group's
        return os.open(name, _FOLDER, dir_fd=above)

    scratch = scratch_of(copy)
    descriptor = _walk(copy.project_folder, scratch, make)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            reason = "it belongs to another user; move it away"
            raise PermissionError(errno.EPERM, reason, str(scratch))
    finally:
        os.close(descriptor)
    return scratch


def scratch_of(copy: Copy) -> Path:
    """The folder beside the data for files on their way (docs/decisions/0007)."""
    return copy.destination.parent / f".asynchy-{copy.destination.name}"


def opened(project: Path, folder: Path) -> int:
    """The descriptor of a folder below a project folder (docs/decisions/0021).

    No symbolic link on the way from there is followed: whoever may write in the project could put
    one in the place of a folder, and lead us where they may not write themselves.

    Raises:
        OSError: one of the folders is not there, or is something else.
    """
    return _walk(project, folder, lambda above, name: os.open(name, _FOLDER, dir_fd=above))


def drop(project: Path, folder: Path) -> None:
    """Remove a folder below a project folder with all that is in it, as far as it can be."""
    with contextlib.suppress(OSError):
        above = opened(project, folder.parent)
        try:
            shutil.rmtree(folder.name, ignore_errors=True, dir_fd=above)
        finally:
            os.close(above)


def _walk(project: Path, folder: Path, step: Callable[[int, str], int]) -> int:
    """The descriptor of a folder, found step by step from the project folder down."""
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


def _made(above: int, name: str) -> bool:
    """Make a folder where there is nothing; whether there was not."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


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
    """A copy's tree, below its project folder. For one thread; its methods raise OSError."""

    def __init__(self, project: Path, root: Path) -> None:
        self._root = opened(project, root)
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

    def folders_in(self, path: bytes) -> list[bytes]:
        """The names of the folders in a folder; the copy's own is the empty path."""
        with os.scandir(self._folder(path)) as entries:
            below = [item.name for item in entries if item.is_dir(follow_symlinks=False)]
        return [os.fsencode(name) for name in below]

    def remove_folder(self, path: bytes) -> None:
        """Remove a folder with all that is in it."""
        folder, name = self._place(path)
        shutil.rmtree(name, dir_fd=folder)

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
