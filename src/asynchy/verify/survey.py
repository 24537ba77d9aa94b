"""A listing held against the copy at home, entry by entry, in constant memory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from datetime import datetime

from asynchy.domain import pulse
from asynchy.domain.experiment import AtHome, Entry, Kind, Survey
from asynchy.tree import Tree, is_about_one_file

_FINGERPRINT_BITS = 256


class Surveyor:
    """Takes the entries of one listing and adds up what is there and what is missing at home.

    A file counts as at home where a regular file of the same size (and, unless `size_only`, the
    same time in whole seconds) lies in its place. One that a person changed there counts as edited
    while the facility's is as recorded. Symbolic links are not followed, but the first is named.
    Entries may come in any order; the fingerprint does not depend on it.
    """

    def __init__(  # noqa: PLR0913 - what is compared, and how
        self,
        home: Tree | None,
        listed_at: datetime,
        *,
        look: bool = True,
        size_only: bool = False,
        recorded: Callable[[bytes], tuple[int, int] | None] | None = None,
        restore: bool = False,
    ) -> None:
        """Begin; `home` is the copy, None if nothing is at its place.

        Unless `look`, all that is listed is taken to be at home. `recorded` gives the size and time
        that a file had when it arrived, None if that is not known. Without it, what differs from
        the listing is missing, whoever changed it. `restore`: what a person changed is missing.
        """
        self._home = home
        self._look = look
        self._listed_at = listed_at
        self._size_only = size_only
        self._recorded = recorded
        self._restore = restore
        self._edited = self._other_times = 0
        self._files = self._bytes = self._folders = self._left_out = 0
        self._missing_files = self._missing_folders = 0
        self.missing_bytes = 0
        """Of the files that are not at home, so far."""
        self.link: bytes | None = None
        """The first path at home that is a symbolic link; None: none is, so far."""
        self._fingerprint = 0

    def add(self, entry: Entry) -> AtHome:
        """Take one entry; what is at home in its place."""
        pulse.beat()
        if entry.kind is Kind.FOLDER:
            found = self._of_folder(entry)
            self._folders += 1
            self._missing_folders += found is AtHome.MISSING
        elif entry.kind is Kind.FILE:
            found = self._of_file(entry)
            self._files += 1
            self._bytes += entry.size
            self._edited += found is AtHome.EDITED
            if found is AtHome.MISSING:
                self._missing_files += 1
                self.missing_bytes += entry.size
        else:
            self._left_out += 1
            return AtHome.MISSING
        self._note(entry)
        return found

    def result(self) -> Survey:
        """What was added up."""
        return Survey(
            listed_at=self._listed_at,
            files=self._files,
            bytes=self._bytes,
            folders=self._folders,
            left_out=self._left_out,
            missing_files=self._missing_files,
            missing_bytes=self.missing_bytes,
            missing_folders=self._missing_folders,
            fingerprint=f"{self._fingerprint:064x}",
            other_times=self._other_times,
            edited_files=self._edited,
        )

    def _of_file(self, entry: Entry) -> AtHome:
        if not self._look:
            return AtHome.NOT_LOOKED
        found = self._found(entry.path)
        if entry.is_same(found):
            return AtHome.AS_LISTED
        self._look_for_link(entry, found)
        if found is None or not stat.S_ISREG(found.st_mode):
            return AtHome.MISSING
        if self._recorded and self._recorded(entry.path) == (entry.size, entry.modified):
            # It arrived as the facility has it still.
            return AtHome.MISSING if self._restore else AtHome.EDITED
        same = entry.is_same(found, size_only=self._size_only)
        self._other_times += same
        return AtHome.AS_LISTED if same else AtHome.MISSING

    def _found(self, path: bytes) -> os.stat_result | None:
        """What is there; nothing if home cannot hold or show it: a transfer names that."""
        try:
            return self._home.find(path) if self._home is not None else None
        except OSError as error:
            if not is_about_one_file(error):
                raise
            return None

    def _look_for_link(self, entry: Entry, found: os.stat_result | None) -> None:
        if self.link is None and found is not None and stat.S_ISLNK(found.st_mode):
            self.link = entry.path

    def _note(self, entry: Entry) -> None:
        # A folder's size and time say nothing about its data, and rsync does not compare them.
        if entry.kind is Kind.FILE:
            text = f"('file', {entry.path!r}, {entry.size}, {entry.modified})"
        else:
            text = f"('folder', {entry.path!r})"
        digest = int.from_bytes(
            hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_BITS // 8).digest()
        )
        self._fingerprint = (self._fingerprint + digest) % (1 << _FINGERPRINT_BITS)

    def _of_folder(self, entry: Entry) -> AtHome:
        if not self._look:
            return AtHome.NOT_LOOKED
        if self._home is None:
            return AtHome.MISSING
        found = None if entry.path == b"." else self._found(entry.path)
        self._look_for_link(entry, found)
        there = entry.path == b"." or (found is not None and stat.S_ISDIR(found.st_mode))
        return AtHome.AS_LISTED if there else AtHome.MISSING
