"""The folders that wait to be listed; taken and added to by several connections at once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from asynchy.model.experiment import OPEN_IT, Entry
from asynchy.model.listing_limits import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    SHORTEN_IT,
    ListingLimits,
)

_MAX_QUEUE_BYTES = 256 << 20
"""Bytes that the folders of one tree take while they wait to be listed."""
_FOLDER_BYTES = 150
"""Bytes that such a folder takes in addition to its path."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is to be listed."""

    tag: int
    """The tree that it is in; chosen by the caller."""
    root: bytes
    """Absolute path of the tree at the facility."""
    path: bytes = b"."
    """Path within the tree; the tree's own folder is `.`."""

    @property
    def full(self) -> bytes:
        """The absolute path."""
        return self.root if self.path == b"." else self.root + b"/" + self.path

    @property
    def depth(self) -> int:
        """Levels below the tree's own folder."""
        return 0 if self.path == b"." else self.path.count(b"/") + 1

    @property
    def may_hide_entries(self) -> bool:
        """Whether an entry of it can have a path that is too long.

        A server looks at each entry by its path. OpenSSH's leaves out what it cannot look at, and
        reports no error.
        """
        return self.is_too_long(b"x" * MAX_NAME_BYTES)

    def is_too_long(self, name: bytes) -> bool:
        """Whether an entry with this name has a path that is too long to be asked for."""
        return len(self.full) + 1 + len(name) > MAX_PATH_BYTES

    def below(self, name: bytes) -> bytes:
        """The path within the tree of an entry of this folder."""
        return name if self.path == b"." else self.path + b"/" + name


@dataclass(frozen=True)
class FolderError:
    """Why a folder could not be listed."""

    reason: str
    absent: bool = False
    """Whether the folder does not exist; of a tree's own folder: there is nothing in its place."""
    replaced: bool = False
    """Whether something else is in the place of a tree's own folder, such as a link to none."""
    alone: bool = False
    """Whether it concerns just this folder: the server does not let it be read. Otherwise the
    server's answers are unusable, and none of them can be relied on.
    """
    to_do: str = OPEN_IT


MAY_HIDE = FolderError(
    f"it may have files with paths of more than {MAX_PATH_BYTES:,} bytes, which SFTP cannot list",
    alone=True,
    to_do=SHORTEN_IT,
)


@dataclass
class FolderQueue:
    """The folders that wait, those that have not been begun, and how many are being listed."""

    start: Iterator[Folder]
    most: int
    """Entries of a tree."""
    waiting: list[Folder] = field(default_factory=list)
    weights: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Bytes that the folders take that wait, by the tag of their tree."""
    bounds: dict[int, ListingLimits] = field(default_factory=dict)
    """The number of listed entries, by the tag of the tree."""
    name_themselves: bool = False
    """Whether this server has listed a folder with an entry `.`; then every folder has one."""
    exhausted: bool = False
    busy: int = 0
    error: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Folder | None:
        """The next folder to list, deepest first; None: none waits, or something went wrong."""
        with self.lock:
            if self.error is not None:
                return None
            if not self.waiting and not self.exhausted:
                folder = next(self.start, None)
                if folder is None:
                    self.exhausted = True
                else:
                    self._put(folder)
            if not self.waiting:
                return None
            self.busy += 1
            folder = self.waiting.pop()
            self.weights[folder.tag] -= len(folder.path) + _FOLDER_BYTES
            return folder

    def put(self, folders: Iterable[Folder]) -> None:
        """Have more folders wait."""
        with self.lock:
            for folder in folders:
                self._put(folder)

    def _put(self, folder: Folder) -> None:
        self.waiting.append(folder)
        self.weights[folder.tag] += len(folder.path) + _FOLDER_BYTES

    def admit(self, tag: int, entries: Sequence[Entry]) -> None:
        """Count the listed entries of a tree.

        Raises:
            ValueError: there are more than a tree may have, or than fit into memory.
        """
        with self.lock:
            self.bounds.setdefault(tag, ListingLimits(self.most)).take(entries)
            if entries and self.weights[tag] > _MAX_QUEUE_BYTES:
                raise ValueError("more folders than can be remembered until they are listed")

    def done(self) -> None:
        """A folder that was taken has been listed, or could not be."""
        with self.lock:
            self.busy -= 1

    def fail(self, error: BaseException) -> None:
        """Nothing more is listed, because of an error."""
        with self.lock:
            self.error = self.error or error

    @property
    def finished(self) -> bool:
        """Whether nothing is left to list, or something went wrong."""
        with self.lock:
            return self.error is not None or (self.exhausted and not self.waiting and not self.busy)
