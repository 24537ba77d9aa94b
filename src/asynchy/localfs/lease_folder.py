"""The folder of one lease among the files on their way: `.asynchy-data/lease-7`.

Several machines may work on a copy one after the other. Whoever takes over moves the files that are
of use out of the folder of the lease before, and removes that. From then on the process that had
that lease can put nothing into the copy, even if it was stopped meanwhile and goes on: a file comes
there by a rename out of its folder. That is gone, and nothing can be made in it any more.
So no folder is moved as a whole: who has it open would go on in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass

from asynchy.localfs.safe_tree import FOLDER, remove_tree
from asynchy.model import heartbeat

_NAME = re.compile(r"lease-([1-9][0-9]*)")
_DEEPEST = 200
"""Folders in each other whose files are moved; what is deeper is fetched again."""
_AT_ONCE = 1 << 26  # bytes
_TRIES = 1000
"""Times that a folder is emptied that a process fills, which has lost its lease."""
_OTHER = (errno.ENOTEMPTY, errno.EEXIST)


def lease_folder(scratch: int, number: int, lock: str, *, copied: bool) -> str:
    """Make the folder of a lease, with what those before have left; its name.

    `lock`: the name of a file that is not taken over. `copied`: what is taken over is copied, as a
    process may still have it open and write to it.

    Raises:
        OSError: it cannot be made, or a later lease has one.
    """
    name = f"lease-{number}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=scratch)
    folder = os.open(name, FOLDER, dir_fd=scratch)
    try:
        for other in os.listdir(scratch):
            found = _NAME.fullmatch(other)
            if found is not None and int(found[1]) > number:
                reason = "another process has taken over this copy, and works on it"
                raise OSError(errno.EBUSY, reason, other)
            if other not in (name, lock):
                taker = _Taker(lock, copied=copied)
                taker.take(other, scratch, folder, is_lease=found is not None)
    finally:
        os.close(folder)
    return name


@dataclass(frozen=True)
class _Taker:
    """Takes over files; of two of one name, the one that comes later stays."""

    lock: str
    copied: bool

    def take(
        self, name: str, above: int, target: int, depth: int = 0, *, is_lease: bool = False
    ) -> None:
        """Take a file, or what is in a folder, which goes.

        `is_lease`: what is in it comes to the target itself, not to a folder of that name.
        """
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                self._take_file(name, above, target)
                return
            if depth == _DEEPEST:
                remove_tree(above, name)
                return
            source = os.open(name, FOLDER, dir_fd=above)
        except FileNotFoundError:
            return
        into = target if is_lease else _opened(name, target)
        try:
            for _ in range(_TRIES):
                if is_lease:  # who was stopped has its lock still
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.lock, dir_fd=source)
                for entry in os.listdir(source):  # noqa: PTH208 - no path leads there
                    self.take(entry, source, into, depth + 1)
                if _removed(name, above):
                    return
        finally:
            os.close(source)
            if into != target:
                os.close(into)
        raise OSError(errno.EBUSY, "a process that has lost its lease goes on writing", name)

    def _take_file(self, name: str, above: int, target: int) -> None:
        if not self.copied:
            os.rename(name, name, src_dir_fd=above, dst_dir_fd=target)
            return
        with contextlib.suppress(OSError):  # without it, that file is fetched again
            _copy(name, above, target)
        os.unlink(name, dir_fd=above)


def _copy(name: str, above: int, target: int) -> None:
    """Copy a file, with its holes, by the file system itself where it can."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    source = os.open(name, os.O_RDONLY | flags, dir_fd=above)
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            return
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, 0o600, dir_fd=target)
        try:
            os.truncate(made, status.st_size)
            _copy_data(source, made, status.st_size)
            os.fsync(made)
        finally:
            os.close(made)
    finally:
        os.close(source)


def _copy_data(source: int, made: int, size: int) -> None:
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            heartbeat.beat()
            number = os.copy_file_range(source, made, min(end - at, _AT_ONCE), at, at)
            if not number:
                return
            at += number


def _removed(name: str, above: int) -> bool:
    """Whether a folder is gone; False: something is in it again."""
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:
        if error.errno not in _OTHER:
            raise
        return False
    return True


def _opened(name: str, above: int) -> int:
    """A folder, made if it is not there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    return os.open(name, FOLDER, dir_fd=above)
