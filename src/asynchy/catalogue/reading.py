"""How a database is opened for reading while others may write to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from asynchy.errors import CatalogueError

_ROOM = 1 << 20
"""Bytes that must be free for SQLite's files; they take some ten thousand."""
_BUSY = 30
"""Seconds to wait for a program that writes to the file."""
_TRIES = 5
"""Tries to copy a file that nobody changes meanwhile."""


class ScratchFolder:
    """A folder for a copy of a database; removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="asynchy-catalogue-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def address_for_reading(path: Path) -> tuple[str, object]:
    """The URI of a database for SQLite, and what has to be kept as long as it is open.

    SQLite makes two files beside a database in WAL mode (-wal, -shm), or uses those of a writer.
    If we cannot make them, and nobody writes, a copy is read: with SQLite's `immutable`, one
    would read nonsense once somebody begins to write, on another machine if the file system is
    mounted read-only on this one. https://sqlite.org/wal.html#readonly

    Where this process may write the file, only SQLite opens it: a process that closes a file loses
    all its locks on it, those of its other threads too. https://sqlite.org/howtocorrupt.html (2.2)

    Raises:
        CatalogueError: the file cannot be read.
    """
    address = f"file:{quote(str(path))}"
    try:
        if _beside(path, "-journal").exists():  # not in WAL mode; another program may be writing
            return f"{address}?mode=ro", None
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        if writable and _has_room(path):
            return f"{address}?mode=rw", None  # it removes both files at the end
        both = _beside(path, "-wal").exists() and _beside(path, "-shm").exists()
        if both or not _is_wal(path):
            return f"{address}?mode=ro", None
        return _copied(path)
    except OSError as error:
        name = error.filename or path
        raise CatalogueError(
            f"{path} cannot be read: {name}: {error.strerror}",
            hint=f"let this user read it, and write {path.parent} or {tempfile.gettempdir()}",
        ) from None


@contextlib.contextmanager
def opened_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, open for reading alone; it waits for a program that locks it for a moment.

    Raises:
        CatalogueError: the file cannot be read.
        sqlite3.Error: as SQLite says, also from the body.
    """
    address, _keep = address_for_reading(path)
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY, isolation_level=None)
    with contextlib.closing(connection) as db:
        db.execute("PRAGMA query_only=ON")
        yield db


def _has_room(path: Path) -> bool:
    """Whether the two files can be made beside a database, or are there."""
    found = os.statvfs(path)
    room = not found.f_blocks or found.f_bavail * found.f_frsize >= _ROOM  # 0: it does not say
    return room or _beside(path, "-wal").exists()


def _beside(path: Path, ending: str) -> Path:
    """A file that SQLite makes beside a database."""
    return path.with_name(path.name + ending)


def _is_wal(path: Path) -> bool:
    """Whether a database is in WAL mode: https://sqlite.org/fileformat.html, offset 18."""
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False  # SQLite will say what is wrong


def _copied(path: Path) -> tuple[str, object]:
    folder = ScratchFolder()
    copy = folder.path / path.name
    for _ in range(_TRIES):
        before = path.stat()
        shutil.copyfile(path, copy)
        after = path.stat()
        same = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        if same and not _beside(path, "-wal").exists():
            return f"file:{quote(str(copy))}?mode=rw", folder
    raise CatalogueError(f"{path} is being written all the time", hint="try again")
