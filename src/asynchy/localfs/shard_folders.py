"""The folders of shards: who may put files of a copy in their places, when several hosts bring it.

The coordinator makes a folder for each shard in the folder for files on their way, and whoever
works on the shard makes one in that, for this attempt alone: all that it writes has a name in it.
A folder that is removed takes the right away: on every host, and on every file system, nothing can
be made in it, opened in it or renamed from it any more (docs/decisions/0058). So a host that was
paused, or cut off, and given up for lost, does no harm when it goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from asynchy.localfs.safe_tree import FOLDER, is_there, opened, remove_tree

SHARDS = "shards"
"""In the folder for files on their way."""
_LOST = "lost"
"""In a shard's folder: that an attempt was ended by another one, and may not know it yet."""
_TRIES = 50
"""How often a folder is removed into which somebody puts files meanwhile."""
_MEANWHILE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
_GONE = (FileNotFoundError, NotADirectoryError)


class ShardOver(OSError):
    """The attempt may write nothing any more: another took its place, or its shard is over."""


def fence(scratch: int) -> bool:
    """End the right of all that earlier runs had at work; whether any may not have ended.

    Raises:
        OSError: the folders cannot be removed.
    """
    try:
        folder = os.open(SHARDS, FOLDER, dir_fd=scratch)
    except FileNotFoundError:
        return False
    try:
        # All of them: `any` would leave the rest.
        shared = sum([_removed(folder, name) for name in os.listdir(folder)])  # noqa: PTH208 - no path leads there
    finally:
        os.close(folder)
    _remove(scratch, SHARDS)
    return bool(shared)


def begin(scratch: int, shard: str) -> None:
    """Make the folder of a shard."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(SHARDS, 0o700, dir_fd=scratch)
    folder = os.open(SHARDS, FOLDER, dir_fd=scratch)
    try:
        os.mkdir(shard, 0o700, dir_fd=folder)
    finally:
        os.close(folder)


def end(scratch: int, shard: str) -> bool:
    """Remove the folder of a shard that is over; whether an attempt may still have files open.

    If so, a mark stays until the whole folder for files on their way goes.

    Raises:
        OSError: it cannot be removed.
    """
    folder = os.open(SHARDS, FOLDER, dir_fd=scratch)
    try:
        shared = _removed(folder, shard)
        if shared:
            mark = f"{_LOST}-{shard}"
            os.mkdir(mark, 0o700, dir_fd=folder)
            os.mkdir(f"{mark}/{_LOST}", 0o700, dir_fd=folder)
        return shared
    finally:
        os.close(folder)


class ShardAttempt:
    """One host's work on a shard; a context manager.

    It ends the right of all that began before it to work on the shard.
    """

    def __init__(self, project: Path, shard: Path) -> None:
        """Make its folder.

        Raises:
            ShardOver: the shard is over.
            OSError: the folder cannot be made, or those of others cannot be removed.
        """
        try:
            self._shard = opened(project, shard)
        except FileNotFoundError:
            # Where more than that is missing, this host does not see what the others see.
            os.close(opened(project, shard.parent.parent))
            raise _over() from None
        self._name = secrets.token_hex(8)
        self.path = shard / self._name
        """For its files on their way."""
        try:
            os.mkdir(self._name, 0o700, dir_fd=self._shard)
            names = os.listdir(self._shard)  # noqa: PTH208 - no path leads there
            for other in set(names) - {self._name, _LOST}:
                mark = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(_LOST, mark, 0o600, dir_fd=self._shard))
                _remove(self._shard, other)
        except _GONE:
            os.close(self._shard)
            raise _over() from None
        except OSError:
            os.close(self._shard)
            raise

    def __enter__(self) -> ShardAttempt:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the coordinator removes it
            _remove(self._shard, self._name)
        os.close(self._shard)

    @property
    def is_over(self) -> bool:
        """Whether it may write nothing any more."""
        return not is_there(self._shard, self._name)

    def link(self, scratch: int, names: Iterable[str]) -> None:
        """Give files of the folder for files on their way a second name in its own.

        Raises:
            ShardOver: it may not write any more.
            OSError: a file cannot have two names there.
        """
        folder = self._opened()
        try:
            for name in names:
                os.link(name, name, src_dir_fd=scratch, dst_dir_fd=folder, follow_symlinks=False)
        except _GONE:
            raise _over() from None
        finally:
            os.close(folder)

    def flush(self, names: Iterable[str]) -> None:
        """Have files that it wrote to on the disks, and see that it still may write.

        Raises:
            ShardOver: it may not any more.
            OSError: some of it could not be written.
        """
        folder = self._opened()
        try:
            for name in names:
                file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
        except _GONE:
            raise _over() from None
        finally:
            os.close(folder)

    def _opened(self) -> int:
        try:
            return os.open(self._name, FOLDER, dir_fd=self._shard)
        except _GONE:
            raise _over() from None
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise _over() from None
            raise


def _over() -> ShardOver:
    return ShardOver(errno.ESTALE, "another attempt took its place, or its shard is over")


def _removed(folder: int, shard: str) -> bool:
    """Remove a shard's folder; whether anything was in it, which an attempt takes along."""
    try:
        os.rmdir(shard, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _remove(folder, shard)
        return True
    return False


def _remove(above: int, name: str) -> None:
    for tries in range(1, _TRIES + 1):
        try:
            remove_tree(above, name)
        except OSError as error:
            if not is_there(above, name):
                return
            if error.errno not in _MEANWHILE or tries == _TRIES:
                raise
        else:
            return
