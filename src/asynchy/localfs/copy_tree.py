"""The tree of a copy at home, as a transfer writes to it; nothing outside it is touched."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import stat
from pathlib import Path

from asynchy.localfs.kept_files import KeptFolder
from asynchy.localfs.mode_and_time import dated, set_mode, time_not_held
from asynchy.localfs.safe_tree import (
    FOLDER,
    SafeTree,
    is_about_one_file,
    opened,
    remove_tree,
    walk_down,
)
from asynchy.localfs.same_place import is_alike
from asynchy.model.experiment import Copy, Entry
from asynchy.model.file_modes import GROUP_SHARED, Modes
from asynchy.model.file_times import is_time, same_time
from asynchy.model.formatting import escaped
from asynchy.ssh.error_causes import cause

log = logging.getLogger(__name__)

_PARENT_MODE = 0o2770
"""Folders that we make above the data: the project's group works in them, others stay out."""
_WHAT = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
STAGING = "rsync"
"""In the folder for files on their way: the folder that rsync writes into."""
_LOOK = "look at `dmesg`, and at how the file system of the project folder is mounted"
_UNFINISHED_MODE = 0o1700
"""The mode of a folder that was just made: by its sticky bit a later run sees that it never got the
mode that it is to have."""
_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)
"""Of the C library since glibc 2.28."""
_RENAME_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""


def make_folders(copy: Copy) -> None:
    """Make what is missing below the project folder, never the project folder itself.

    Raises:
        OSError: one of them cannot be made, or is a symbolic link.
    """
    is_new = False

    def make(parent: int, name: str) -> int:
        nonlocal is_new
        is_new = make_if_missing(parent, name)
        child = os.open(name, FOLDER, dir_fd=parent)
        if is_new:
            _set_mode(child, _PARENT_MODE)
        return child

    destination = walk_down(copy.project_folder, copy.destination, make)
    if is_new:
        _set_mode(destination, _UNFINISHED_MODE)
    os.close(destination)


def _set_mode(folder: int, mode: int) -> None:
    """Set the mode of a folder, if the file system has modes."""
    try:
        os.fchmod(folder, mode)
    except OSError as error:
        if not is_about_one_file(error):
            raise


def drop(project: Path, folder: Path, *, empty: bool = False) -> None:
    """Remove a folder below a project folder with all that is in it, as far as it can be.

    `empty`: only if there is nothing in it.
    """
    with contextlib.suppress(OSError):
        parent_fd = opened(project, folder.parent)
        try:
            if empty:
                os.rmdir(folder.name, dir_fd=parent_fd)
            else:
                remove_tree(parent_fd, folder.name)
        finally:
            os.close(parent_fd)


def make_if_missing(parent_fd: int, name: str) -> bool:
    """Make a folder if there is nothing of that name; returns whether it was made."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent_fd)
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


def _exchanged(folder: int, name: str | bytes, other_folder: int, other_name: bytes) -> bool:
    """Have two files change places in one step; whether the file system can: renameat2(2).

    So the file that is taken out is the one that was there; nothing that a person saves meanwhile
    is lost.

    Raises:
        OSError: one of them is not there, or may not be moved.
    """
    if _renameat2 is None:
        return False
    if not _renameat2(folder, os.fsencode(name), other_folder, other_name, _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number))


def error_reason(error: OSError) -> tuple[str, str | None]:
    """The reason and the hint for a failed write at home; a bare file name is left out."""
    if (explanation := cause(f"mkstemp: {error.strerror} ({error.errno})")) is not None:
        return explanation.reason, explanation.hint
    path = error.filename if isinstance(error.filename, str | bytes) else ""
    name = f"{escaped(path)}: " if os.fsencode(path).startswith(b"/") else ""
    if error.errno is None or error.strerror != os.strerror(error.errno):  # asynchy's message
        return f"{name}{error.strerror or error}", None
    return f"{name}{error.strerror} (at home)", _LOOK


def _is_unfinished(folder: os.stat_result) -> bool:
    """Whether it has the mode of one that was just made; the setgid bit is the folder's above."""
    return folder.st_mode & 0o1777 == _UNFINISHED_MODE and folder.st_uid == os.geteuid()


class CopyTree(SafeTree):
    """A copy's tree, below its project folder. For one thread; its methods raise OSError."""

    def __init__(
        self,
        copy: Copy,
        replaced: Path | None = None,
        modes: Modes = GROUP_SHARED,
        *,
        size_only: bool = False,
    ) -> None:
        """Open it; replaced files are kept in `replaced`.

        `modes`: the permission bits of arriving files. `size_only`: a time that the file system
        cannot hold is not a fault.
        """
        super().__init__(copy.destination, copy.project_folder)
        self._modes = modes
        self._size_only = size_only
        self._replaced = KeptFolder(copy, replaced) if replaced is not None else None

    def close(self) -> None:
        """Let go of the folders that are open."""
        super().close()
        if self._replaced is not None:
            self._replaced.close()

    def flush(self) -> None:
        """Have all of it on the disks."""
        flush(self._root)

    def place(self, scratch: int, temporary: str | bytes, entry: Entry) -> None:
        """Put a complete file in its place, with its mode and time; an existing file is kept.

        TimeNotHeld, if it is in its place and the file system cannot hold its time.
        """
        needed = self._modes.rule != "umask"
        set_mode(scratch, temporary, self._modes.of(entry), needed=needed)
        at_home = dated(scratch, temporary, entry.modified)
        self._put(scratch, temporary, entry.path)
        if self._size_only:
            return
        if at_home is None or not same_time(at_home, entry.modified):
            raise time_not_held(entry.modified, at_home)

    def _put(self, scratch: int, temporary: str | bytes, path: bytes) -> None:
        assert self._replaced is not None
        try:
            folder, name = self._place(path)
            file_stat = self.find(path)
            linked = None
            if file_stat is not None and not stat.S_ISDIR(file_stat.st_mode):
                linked = self._replaced.link(self, path)
            if linked is None or not _exchanged(scratch, temporary, folder, name):
                os.rename(temporary, name, src_dir_fd=scratch, dst_dir_fd=folder)
            elif os.stat(temporary, dir_fd=scratch, follow_symlinks=False).st_ino == linked:
                os.unlink(temporary, dir_fd=scratch)
            else:  # a person saved it at that moment
                self._replaced.add_version(scratch, temporary, path)
        except OSError as error:  # which names the temporary file
            raise self.in_the_way(path) or OSError(error.errno, error.strerror) from None

    def refusal(self, path: bytes) -> int | None:
        """Why no file can be put into a path's folder, an errno; flags (chattr) stop root, too."""
        folder, _ = self._place(path)
        if os.access(b".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            return None
        if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
            return errno.EROFS
        return errno.EPERM if os.geteuid() == 0 else errno.EACCES

    def place_link(self, scratch: int, temporary: bytes, path: bytes) -> None:
        """Put a symbolic link or special file in a free place, or in place of one of ours."""
        try:
            folder, name = self._place(path)
            file_stat = self.find(path)
            if file_stat is None:
                os.link(
                    temporary, name, src_dir_fd=scratch, dst_dir_fd=folder, follow_symlinks=False
                )
                return
        except OSError as error:  # which names the temporary file
            raise self.in_the_way(path) or OSError(error.errno, error.strerror) from None
        if is_alike(scratch, temporary, folder, name):
            return
        is_own = file_stat.st_uid == os.geteuid()
        if stat.S_ISREG(file_stat.st_mode) or stat.S_ISDIR(file_stat.st_mode) or not is_own:
            kind = _WHAT.get(stat.S_IFMT(file_stat.st_mode), "a special file")
            raise FileExistsError(errno.EEXIST, f"{kind} is in the way; move it away")
        self._put(scratch, temporary, path)

    def make_folder(self, entry: Entry) -> None:
        """Make a folder if it does not exist; its parent folders do, and so does `.`."""
        try:
            folder, name = self._place(entry.path)
            os.mkdir(name, _UNFINISHED_MODE, dir_fd=folder)
        except OSError as error:
            if (obstacle := self.in_the_way(entry.path, folder=True)) is not None:
                raise obstacle from None
            if error.errno != errno.EEXIST:
                raise
            if not _is_unfinished(os.stat(name, dir_fd=folder, follow_symlinks=False)):
                return
        with contextlib.suppress(OSError):  # tried again, and reported, at the end
            self.set_attributes(entry, mode=True)

    def in_the_way(self, path: bytes, *, folder: bool = False) -> OSError | None:
        """The error for something in the way of a file, a folder, or a parent; None: nothing is."""
        names = path.split(b"/")
        for depth in range(1, len(names) + 1):
            part = b"/".join(names[:depth])
            file_stat = self.find(part)
            if file_stat is None:
                return None
            if stat.S_ISDIR(file_stat.st_mode) != (folder or depth < len(names)):
                kind = _WHAT.get(stat.S_IFMT(file_stat.st_mode), "a special file")
                number = errno.EISDIR if stat.S_ISDIR(file_stat.st_mode) else errno.ENOTDIR
                full_path = os.fsencode(self.root) + b"/" + part
                return OSError(number, f"{kind} is in the way; move it away", full_path)
        return None

    def set_attributes(self, entry: Entry, *, mode: bool) -> None:
        """Set the time of an existing file or folder, and with `mode` its permission bits."""
        folder, name = self._place(entry.path)
        # O_PATH needs no permission to read; a link would be opened itself, and then refused.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            file_stat = os.fstat(descriptor)
            handle = f"/proc/self/fd/{descriptor}"
            if mode and stat.S_IMODE(file_stat.st_mode) != self._modes.of(entry):
                os.chmod(handle, self._modes.of(entry))  # noqa: PTH101 - not a path of asynchy
            if not is_time(file_stat, entry.modified):
                os.utime(handle, (entry.modified, entry.modified))
        finally:
            os.close(descriptor)

    def folders_in(self, path: bytes) -> list[bytes]:
        """The names of the folders in a folder; the copy's own is the empty path."""
        with os.scandir(self._folder(path)) as entries:
            names = [item.name for item in entries if item.is_dir(follow_symlinks=False)]
        return [os.fsencode(name) for name in names]

    def remove_folder(self, path: bytes) -> None:
        """Remove a folder with all that is in it."""
        folder, name = self._place(path)
        remove_tree(folder, os.fsdecode(name))
