"""A listing compared with the copy at home, entry by entry, in constant memory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from asynchy.localfs.safe_tree import SafeTree, is_about_one_file
from asynchy.localfs.same_place import SamePlace
from asynchy.model import heartbeat
from asynchy.model.experiment import (
    DifferentCounts,
    Entry,
    EntryKind,
    LeftOutCounts,
    ListingDiff,
    LocalState,
    is_changed,
)
from asynchy.model.file_times import TIME_UNKNOWN, is_time
from asynchy.model.verification import Recorded, is_edited

_FINGERPRINT_BITS = 256


class ListingComparer:
    """Compares the entries of one listing with a copy at home, and counts the missing ones.

    A file counts as at home if a regular file of the same size (and, unless `size_only`, the same
    time in whole seconds) is in its place. One that a person changed there counts as edited while
    the facility's is as recorded. Symbolic links are not followed, but the first is named. Entries
    may come in any order; the fingerprint does not depend on it.
    """

    def __init__(  # noqa: PLR0913 - both sides, and the options
        self,
        copy_tree: SafeTree | None,
        listed_at: datetime,
        *,
        compare: bool = True,
        size_only: bool = False,
        recorded: Callable[[bytes], Recorded | None] | None = None,
        restore: bool = False,
        block: int = 1,
    ) -> None:
        """Begin; `copy_tree` is the copy, None if there is nothing at its place.

        Unless `compare`, all listed entries count as at home. `recorded` returns the size and time
        that a file had when it arrived, None if not known. Without it, every file that differs from
        the listing counts as missing. `restore`: files that a person changed count as missing.
        `block`: the block size of the destination in bytes.
        """
        self._copy_tree = copy_tree
        self._same_place = SamePlace(copy_tree) if copy_tree is not None and compare else None
        self.same_place: tuple[bytes, bytes] | None = None
        """The first two listed paths that lead to one file at home; None: none do, so far."""
        self._compare = compare
        self._listed_at = listed_at
        self._size_only = size_only
        self._recorded = recorded
        self._restore = restore
        self._block = block
        self._missing_blocks = 0
        self._edited = self._other_times = 0
        self._files = self._bytes = self._folders = 0
        self._others: Counter[EntryKind] = Counter()
        self._brought: Counter[EntryKind] = Counter()
        self._missing_files = self._missing_folders = 0
        self._newer_files = self._changed = self._resized = 0
        self.missing_bytes = 0
        """Of the files that are not at home, so far."""
        self.link: bytes | None = None
        """The first path at home that is a symbolic link; None: none is, so far."""
        self.timeless: bytes | None = None
        """The first file whose time is not known; None: none is, so far."""
        self.timeless_files = 0
        self._fingerprint = 0

    def add(self, entry: Entry) -> LocalState:
        """Add one entry; returns the state of its place at home."""
        heartbeat.beat()
        if entry.kind is EntryKind.FOLDER:
            state = self._of_folder(entry)
            self._folders += 1
            self._missing_folders += state is LocalState.MISSING
        elif entry.kind is EntryKind.FILE:
            state = self._of_file(entry)
            self._note_timeless(entry)
            self._files += 1
            self._bytes += entry.size
            self._edited += state is LocalState.EDITED
            if state is LocalState.MISSING:
                self._missing_files += 1
                self.missing_bytes += entry.size
                self._missing_blocks += -(-entry.size // self._block)
        else:
            self._others[entry.kind] += 1
            state = self._of_other(entry)
            self._brought[entry.kind] += state is LocalState.AS_LISTED
            return state
        self._note(entry)
        return state

    def result(self) -> ListingDiff:
        """The counts so far."""
        return ListingDiff(
            listed_at=self._listed_at,
            files=self._files,
            bytes=self._bytes,
            folders=self._folders,
            missing_files=self._missing_files,
            missing_bytes=self.missing_bytes,
            missing_folders=self._missing_folders,
            fingerprint=f"{self._fingerprint:064x}",
            other_times=self._other_times,
            edited_files=self._edited,
            different=DifferentCounts(self._newer_files, self._changed, self._resized),
            missing_in_blocks=self._missing_blocks * self._block,
            same_place=self.same_place,
            others=_counts(self._others),
            brought=_counts(self._brought),
        )

    def _of_other(self, entry: Entry) -> LocalState:
        """Whether something of its kind is in the place of a link or special file."""
        file_stat = self._find(entry.path) if self._compare else None
        if file_stat is None:
            return LocalState.MISSING
        is_link, is_data = stat.S_ISLNK(file_stat.st_mode), _is_data(file_stat.st_mode)
        matches = entry.kind is EntryKind.SYMLINK and is_link
        matches |= entry.kind is EntryKind.SPECIAL and not is_link and not is_data
        return LocalState.AS_LISTED if matches else LocalState.MISSING

    def _of_file(self, entry: Entry) -> LocalState:
        if not self._compare:
            return LocalState.NOT_LOOKED
        file_stat = self._find(entry.path)
        if self._leads_to_another(entry.path, file_stat):
            return LocalState.MISSING
        if entry.is_same(file_stat):
            return LocalState.AS_LISTED
        arrived = entry.size, entry.modified
        recorded = self._recorded(entry.path) if self._recorded else None
        facts = recorded.facts if recorded is not None else None
        if recorded is not None and facts == arrived and is_edited(file_stat, recorded):
            return LocalState.MISSING if self._restore else LocalState.EDITED
        self._note_link(entry, file_stat)
        if file_stat is None or not stat.S_ISREG(file_stat.st_mode):
            return LocalState.MISSING
        is_same = entry.is_same(file_stat, size_only=self._size_only)
        is_same = is_same or (file_stat.st_size == entry.size and is_changed(entry, facts))
        self._other_times += is_same
        if not is_same:
            self._note_different(entry, file_stat)
        return LocalState.AS_LISTED if is_same else LocalState.MISSING

    def _note_different(self, entry: Entry, file_stat: os.stat_result) -> None:
        if is_time(file_stat, entry.modified):
            self._resized += 1
        elif entry.modified > file_stat.st_mtime:
            self._newer_files += 1
        else:
            self._changed += 1

    def _find(self, path: bytes) -> os.stat_result | None:
        """The stat result of a path; None if it cannot be read, which a transfer reports."""
        try:
            return self._copy_tree.find(path) if self._copy_tree is not None else None
        except OSError as error:
            if not is_about_one_file(error):
                raise
            return None

    def _leads_to_another(self, path: bytes, file_stat: os.stat_result | None) -> bool:
        """Whether the file was listed under another name, and so does not count for this one."""
        if file_stat is None or self._same_place is None:
            return False
        earlier_path = self._same_place.earlier_path(path, file_stat)
        if earlier_path is not None:
            self.same_place = self.same_place or (earlier_path, path)
        return earlier_path is not None

    def _note_timeless(self, entry: Entry) -> None:
        if entry.modified == TIME_UNKNOWN:
            self.timeless = self.timeless or entry.path
            self.timeless_files += 1

    def _note_link(self, entry: Entry, file_stat: os.stat_result | None) -> None:
        if self.link is None and file_stat is not None and stat.S_ISLNK(file_stat.st_mode):
            self.link = entry.path

    def _note(self, entry: Entry) -> None:
        # Size and time of a folder do not depend on its data, and rsync does not compare them.
        if entry.kind is EntryKind.FILE:
            text = f"('file', {entry.path!r}, {entry.size}, {entry.modified})"
        else:
            text = f"('folder', {entry.path!r})"
        digest = int.from_bytes(
            hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_BITS // 8).digest()
        )
        self._fingerprint = (self._fingerprint + digest) % (1 << _FINGERPRINT_BITS)

    def _of_folder(self, entry: Entry) -> LocalState:
        if not self._compare:
            return LocalState.NOT_LOOKED
        if self._copy_tree is None:
            return LocalState.MISSING
        file_stat = None if entry.path == b"." else self._find(entry.path)
        if self._leads_to_another(entry.path, file_stat):
            return LocalState.MISSING
        self._note_link(entry, file_stat)
        is_there = entry.path == b"." or (file_stat is not None and stat.S_ISDIR(file_stat.st_mode))
        return LocalState.AS_LISTED if is_there else LocalState.MISSING


def _is_data(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _counts(numbers: Counter[EntryKind]) -> LeftOutCounts:
    return LeftOutCounts(
        numbers[EntryKind.DOT_FILE], numbers[EntryKind.SYMLINK], numbers[EntryKind.SPECIAL]
    )
