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
    """Takes the entries of one listing and adds up what is there and what is missing at home.

    A file counts as at home where a regular file of the same size (and, unless `size_only`, the
    same time in whole seconds) is in its place. One that a person changed there counts as edited
    while the facility's is as recorded. Symbolic links are not followed, but the first is named.
    Entries may come in any order; the fingerprint does not depend on it.
    """

    def __init__(  # noqa: PLR0913 - what is compared, and how
        self,
        home: SafeTree | None,
        listed_at: datetime,
        *,
        look: bool = True,
        size_only: bool = False,
        recorded: Callable[[bytes], Recorded | None] | None = None,
        restore: bool = False,
        block: int = 1,
    ) -> None:
        """Begin; `home` is the copy, None if nothing is at its place.

        Unless `look`, all that is listed is taken to be at home. `recorded` gives the size and time
        that a file had when it arrived, None if that is not known. Without it, what differs from
        the listing is missing, whoever changed it. `restore`: what a person changed is missing.
        `block`: bytes in which the destination gives space to files.
        """
        self._home = home
        self._same_place = SamePlace(home) if home is not None and look else None
        self.same_place: tuple[bytes, bytes] | None = None
        """The first two listed paths that lead to one file at home; None: none do, so far."""
        self._look = look
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
        self._newer = self._changed = self._resized = 0
        self.missing_bytes = 0
        """Of the files that are not at home, so far."""
        self.link: bytes | None = None
        """The first path at home that is a symbolic link; None: none is, so far."""
        self.timeless: bytes | None = None
        """The first file whose time is not known; None: none is, so far."""
        self.timeless_files = 0
        self._fingerprint = 0

    def add(self, entry: Entry) -> LocalState:
        """Take one entry; what is at home in its place."""
        heartbeat.beat()
        if entry.kind is EntryKind.FOLDER:
            found = self._of_folder(entry)
            self._folders += 1
            self._missing_folders += found is LocalState.MISSING
        elif entry.kind is EntryKind.FILE:
            found = self._of_file(entry)
            self._note_timeless(entry)
            self._files += 1
            self._bytes += entry.size
            self._edited += found is LocalState.EDITED
            if found is LocalState.MISSING:
                self._missing_files += 1
                self.missing_bytes += entry.size
                self._missing_blocks += -(-entry.size // self._block)
        else:
            self._others[entry.kind] += 1
            found = self._of_other(entry)
            self._brought[entry.kind] += found is LocalState.AS_LISTED
            return found
        self._note(entry)
        return found

    def result(self) -> ListingDiff:
        """What was added up."""
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
            different=DifferentCounts(self._newer, self._changed, self._resized),
            missing_in_blocks=self._missing_blocks * self._block,
            same_place=self.same_place,
            others=_counts(self._others),
            brought=_counts(self._brought),
        )

    def _of_other(self, entry: Entry) -> LocalState:
        """Whether something of its kind is in the place of a link or special file."""
        found = self._found(entry.path) if self._look else None
        if found is None:
            return LocalState.MISSING
        is_link, is_data = stat.S_ISLNK(found.st_mode), _is_data(found.st_mode)
        there = entry.kind is EntryKind.SYMLINK and is_link
        there |= entry.kind is EntryKind.SPECIAL and not is_link and not is_data
        return LocalState.AS_LISTED if there else LocalState.MISSING

    def _of_file(self, entry: Entry) -> LocalState:
        if not self._look:
            return LocalState.NOT_LOOKED
        found = self._found(entry.path)
        if self._leads_to_another(entry.path, found):
            return LocalState.MISSING
        if entry.is_same(found):
            return LocalState.AS_LISTED
        arrived = entry.size, entry.modified
        recorded = self._recorded(entry.path) if self._recorded else None
        facts = recorded.facts if recorded is not None else None
        if recorded is not None and facts == arrived and is_edited(found, recorded):
            return LocalState.MISSING if self._restore else LocalState.EDITED
        self._look_for_link(entry, found)
        if found is None or not stat.S_ISREG(found.st_mode):
            return LocalState.MISSING
        same = entry.is_same(found, size_only=self._size_only)
        same = same or (found.st_size == entry.size and is_changed(entry, facts))
        self._other_times += same
        if not same:
            self._note_different(entry, found)
        return LocalState.AS_LISTED if same else LocalState.MISSING

    def _note_different(self, entry: Entry, found: os.stat_result) -> None:
        if is_time(found, entry.modified):
            self._resized += 1
        elif entry.modified > found.st_mtime:
            self._newer += 1
        else:
            self._changed += 1

    def _found(self, path: bytes) -> os.stat_result | None:
        """What is there; nothing if home cannot hold or show it: a transfer names that."""
        try:
            return self._home.find(path) if self._home is not None else None
        except OSError as error:
            if not is_about_one_file(error):
                raise
            return None

    def _leads_to_another(self, path: bytes, found: os.stat_result | None) -> bool:
        """Whether what was found is there under another listed name, and so not under this one."""
        if found is None or self._same_place is None:
            return False
        other = self._same_place.other(path, found)
        if other is not None:
            self.same_place = self.same_place or (other, path)
        return other is not None

    def _note_timeless(self, entry: Entry) -> None:
        if entry.modified == TIME_UNKNOWN:
            self.timeless = self.timeless or entry.path
            self.timeless_files += 1

    def _look_for_link(self, entry: Entry, found: os.stat_result | None) -> None:
        if self.link is None and found is not None and stat.S_ISLNK(found.st_mode):
            self.link = entry.path

    def _note(self, entry: Entry) -> None:
        # A folder's size and time say nothing about its data, and rsync does not compare them.
        if entry.kind is EntryKind.FILE:
            text = f"('file', {entry.path!r}, {entry.size}, {entry.modified})"
        else:
            text = f"('folder', {entry.path!r})"
        digest = int.from_bytes(
            hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_BITS // 8).digest()
        )
        self._fingerprint = (self._fingerprint + digest) % (1 << _FINGERPRINT_BITS)

    def _of_folder(self, entry: Entry) -> LocalState:
        if not self._look:
            return LocalState.NOT_LOOKED
        if self._home is None:
            return LocalState.MISSING
        found = None if entry.path == b"." else self._found(entry.path)
        if self._leads_to_another(entry.path, found):
            return LocalState.MISSING
        self._look_for_link(entry, found)
        there = entry.path == b"." or (found is not None and stat.S_ISDIR(found.st_mode))
        return LocalState.AS_LISTED if there else LocalState.MISSING


def _is_data(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _counts(numbers: Counter[EntryKind]) -> LeftOutCounts:
    return LeftOutCounts(
        numbers[EntryKind.DOT_FILE], numbers[EntryKind.SYMLINK], numbers[EntryKind.SPECIAL]
    )
