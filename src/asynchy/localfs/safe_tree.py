"""A tree of files at home, opened so that nothing outside it is ever touched.

Every folder is opened from the one above it, and a symbolic link is never followed: neither names
of the facility nor entries at home lead out of the tree. Members of a project make folders as deep,
as many and as they like: nothing here is recursive, and how many folders are kept open depends on
how many this process may have.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import secrets
import shutil
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.model import heartbeat
from asynchy.model.experiment import Copy
from asynchy.model.formatting import escaped
from asynchy.model.remote_names import is_inside

_FOLDER_MODE = 0o770
"""Permission bits of folders that are made: the group works in them, others stay out."""
_MAX_OPEN_FOLDERS = 100
"""Folders of a tree that are kept open at most."""
_RESERVED_DESCRIPTORS = 256
"""Descriptors that are left for everything else: connections, pipes, logs, the catalogue."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened: never through a symbolic link."""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1 << 20
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABOUT_ALL = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENOTCONN, errno.ENODEV,
    errno.ENXIO, errno.ESHUTDOWN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EBADF,
})  # fmt: skip


class SafeTree:
    """A tree at home. For one thread; its methods raise OSError."""

    def __init__(
        self, root: Path, project: Path | None = None, *, descriptor: int | None = None
    ) -> None:
        """Open it; from the project folder on, or from itself on, no symbolic link is followed.

        `descriptor` is that of its folder, where that is open; the tree closes it.
        """
        self.root = root
        self._root = opened(project or root, root) if descriptor is None else descriptor
        self._open: OrderedDict[bytes, int] = OrderedDict()
        _budget.join()

    @classmethod
    def of(cls, copy: Copy) -> SafeTree:
        """The tree of a copy, opened from its project folder on."""
        return SafeTree(copy.destination, copy.project_folder)

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
        _budget.leave()
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)

    def find(self, path: bytes) -> os.stat_result | None:
        """The stat result of a path, symbolic links not followed; None if it does not exist."""
        try:
            folder, name = self._place(path)
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def target(self, path: bytes) -> bytes:
        """Where a symbolic link points to."""
        folder, name = self._place(path)
        return os.readlink(name, dir_fd=folder)

    def link_on(self, path: bytes) -> bytes | None:
        """The first part of a path that is a symbolic link; None: there is none."""
        names = path.split(b"/")
        for depth in range(1, len(names) + 1):
            part = b"/".join(names[:depth])
            file_stat = self.find(part)
            if file_stat is None or stat.S_ISLNK(file_stat.st_mode):
                return None if file_stat is None else part
        return None

    def entries(self, path: bytes, *, others: bool = False) -> Iterator[tuple[bytes, bool]]:
        """The names of the files and folders in a folder (the tree's own: empty), in any order.

        With each whether it is a folder; links and special files are left out unless `others`.
        """
        with os.scandir(self._folder(path)) as items:
            for entry in items:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder or others or entry.is_file(follow_symlinks=False):
                    yield os.fsencode(entry.name), is_folder

    def open(self, path: bytes) -> int:
        """The descriptor of a path, opened for reading; a FIFO does not block."""
        folder, name = self._place(path)
        return os.open(name, _READ_FLAGS, dir_fd=folder)

    def move(self, path: bytes, target_tree: SafeTree) -> None:
        """Move a file to the same path in another tree; folders are made as needed."""
        folder, name = self._place(path)
        parent, _, _ = path.rpartition(b"/")
        try:
            os.rename(name, name, src_dir_fd=folder, dst_dir_fd=target_tree._make_folders(parent))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.copy(path, target_tree)
            os.unlink(name, dir_fd=folder)

    def receive(self, folder: int, name: str | bytes, path: bytes) -> None:
        """Take a file in from another folder, which is open; folders are made as needed."""
        parent, _, new_name = path.rpartition(b"/")
        try:
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=self._make_folders(parent))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            source = os.open(name, _READ_FLAGS, dir_fd=folder)
            self._write(source, path)
            os.unlink(name, dir_fd=folder)

    def copy(self, path: bytes, target_tree: SafeTree) -> None:
        """Copy a file to the same place in another tree; folders are made as needed."""
        target_tree._write(self.open(path), path)

    def _write(self, descriptor: int, path: bytes) -> None:
        """Copy an opened file, which is closed then, to a new one."""
        parent, _, name = path.rpartition(b"/")
        with open(descriptor, "rb") as source:
            file_stat = os.fstat(source.fileno())
            target_fd = os.open(
                name,
                _CREATE_FLAGS,
                stat.S_IMODE(file_stat.st_mode),
                dir_fd=self._make_folders(parent),
            )
            with open(target_fd, "wb") as target:  # noqa: PTH123
                shutil.copyfileobj(source, target, _COPY_BYTES)
                target.flush()
                os.utime(target.fileno(), ns=(file_stat.st_atime_ns, file_stat.st_mtime_ns))
                os.fsync(target.fileno())

    def link(self, path: bytes, target_tree: SafeTree) -> None:
        """Make a hard link to a file at the same path in another tree."""
        folder, name = self._place(path)
        parent, _, _ = path.rpartition(b"/")
        os.link(
            name,
            name,
            src_dir_fd=folder,
            dst_dir_fd=target_tree._make_folders(parent),
            follow_symlinks=False,
        )

    def remove(self, path: bytes) -> None:
        """Remove a file."""
        folder, name = self._place(path)
        os.unlink(name, dir_fd=folder)

    def drop_empty_folders(self, path: bytes) -> None:
        """Remove the folders that a path leads through and in which there is nothing any more."""
        while path := path.rpartition(b"/")[0]:
            folder, name = self._place(path)
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError:
                return
            if (descriptor := self._open.pop(path, None)) is not None:
                os.close(descriptor)

    def _make_folders(self, path: bytes) -> int:
        """A folder, opened; it and those above it are made where they are missing."""
        with contextlib.suppress(FileNotFoundError):
            return self._folder(path)
        names = path.split(b"/")
        for depth in range(1, len(names) + 1):
            folder, name = self._place(b"/".join(names[:depth]))
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
        return self._folder(path)

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """The folder that a path is in, opened, and its name there."""
        heartbeat.beat()
        if not is_inside(path):
            raise ValueError(f"a path that leads out of the copy: {path!r}")
        parent, _, name = path.rpartition(b"/")
        return self._folder(parent), name

    def _folder(self, path: bytes) -> int:
        if not path:
            return self._root
        end = len(path)
        while end > 0 and path[:end] not in self._open:
            end = max(0, path.rfind(b"/", 0, end))
        if end:
            self._open.move_to_end(path[:end])
        descriptor = self._open[path[:end]] if end else self._root
        while end < len(path):
            start = end + 1 if end else 0
            end = path.find(b"/", start)
            end = len(path) if end < 0 else end
            try:
                descriptor = os.open(path[start:end], FOLDER, dir_fd=descriptor)
            except NotADirectoryError:
                raise _in_the_way(os.fsencode(self.root) + b"/" + path[:end]) from None
            self._open[path[:end]] = descriptor
            while len(self._open) > max(1, _budget.share()):
                os.close(self._open.popitem(last=False)[1])
        return descriptor


def same_bytes(tree: SafeTree, other_tree: SafeTree, path: bytes) -> bool:
    """Whether a file has the same bytes in two trees; OSError if it cannot be read."""
    with open(tree.open(path), "rb") as file, open(other_tree.open(path), "rb") as other_file:  # noqa: PTH123
        if os.fstat(file.fileno()).st_size != os.fstat(other_file.fileno()).st_size:
            return False
        while block := file.read(_COPY_BYTES):
            heartbeat.beat()
            if block != other_file.read(len(block)):
                return False
    return True


class _Budget:
    """How many folders each tree of this process may keep open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trees = 0

    def join(self) -> None:
        """One tree more is open."""
        with self._lock:
            self._trees += 1

    def leave(self) -> None:
        """One tree less is open."""
        with self._lock:
            self._trees -= 1

    def share(self) -> int:
        """Folders for each of them."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return min(
            _MAX_OPEN_FOLDERS, max(0, limit - _RESERVED_DESCRIPTORS) // 2 // max(1, self._trees)
        )


_budget = _Budget()


def opened(project: Path, folder: Path) -> int:
    """The descriptor of a folder below a project folder (docs/decisions/0021).

    No symbolic link on the way from there is followed: members of the project could put one in the
    place of a folder, and lead us to places where they may not write themselves.

    Raises:
        OSError: one of the folders is not there, or is something else.
    """
    return walk_down(project, folder, lambda parent, name: os.open(name, FOLDER, dir_fd=parent))


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
            child = step(descriptor, part)
        except NotADirectoryError:
            raise _in_the_way(os.fsencode(path)) from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(descriptor)
        descriptor = child
    return descriptor


def _in_the_way(path: bytes) -> OSError:
    reason = "a symbolic link or a file is in the way; move it away"
    return NotADirectoryError(errno.ENOTDIR, reason, path)


def is_own_folder(parent: int, name: str) -> bool:
    """Whether a folder of our own user has this name in an opened folder; a link is none."""
    try:
        folder_stat = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(folder_stat.st_mode) and folder_stat.st_uid == os.geteuid()


def own_folder_name(parent: int, name: str) -> str:
    """The name of a folder of our own user, or a free name for one.

    If something else has `name`, one that begins with it: others who may write there could have put
    a link, a file, or their own folder in its place.

    Raises:
        OSError: the folder cannot be read.
    """
    if is_own_folder(parent, name) or not is_there(parent, name):
        return name
    candidates = (entry for entry in os.listdir(parent) if entry.startswith(f"{name}-"))
    own_folders = (entry for entry in sorted(candidates) if is_own_folder(parent, entry))
    return next(own_folders, f"{name}-{secrets.token_hex(4)}")


def remove_tree(parent: int, name: str) -> None:
    """Remove a folder in an opened folder with all that is in it, however deep that is.

    Folders that are not empty are moved up, so that no more than two are ever open.

    Raises:
        OSError: some of it could not be removed.
    """
    top = os.open(name, FOLDER, dir_fd=parent)
    try:
        numbers = itertools.count()
        folders = _emptied(top, top, numbers)
        while folders:
            heartbeat.beat()
            name_at_top = folders.pop()
            descriptor = os.open(name_at_top, FOLDER, dir_fd=top)
            try:
                folders += _emptied(descriptor, top, numbers)
            finally:
                os.close(descriptor)
            os.rmdir(name_at_top, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _emptied(folder: int, top: int, numbers: Iterator[int]) -> list[str]:
    """Remove the files of a folder and move its folders to the top; their names there."""
    moved = []
    with os.scandir(folder) as entries:
        items = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in items:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
        elif folder == top:
            moved.append(name)
        else:
            # The facility's names never begin so: they cannot be in the way.
            new_name = f".asynchy-removed-{os.getpid()}-{next(numbers)}"
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=top)
            moved.append(new_name)
    return moved


def is_about_one_file(error: OSError) -> bool:
    """Whether an error may concern just one file: others are tried, and each error is reported.

    True for all errors but those after which nothing can go on: no space, or no file system any
    more.
    """
    return error.errno is not None and error.errno not in _ABOUT_ALL


def is_there(parent: int, name: str) -> bool:
    """Whether anything has this name in an opened folder, a link that leads nowhere too."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def place_of(error: OSError, copy: Copy) -> str:
    """The path that an error at home is about, or else the copy's; Python may name a number."""
    named = isinstance(error.filename, str | bytes)
    return escaped(error.filename if named else os.fspath(copy.destination))
