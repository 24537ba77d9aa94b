"""A listing held against the copy at home, entry by entry, in constant memory."""

from __future__ import annotations

import hashlib
import os
import stat
from datetime import datetime
from pathlib import Path

from asynchy.domain.experiment import Entry, Kind, Survey

_FINGERPRINT_BITS = 256


class Surveyor:
    """Takes the entries of one listing and adds up what is there and what is missing at home.

    A file counts as at home where a regular file of the same size (and, unless `size_only`, the
    same time in whole seconds) lies in its place. Symbolic links are not followed. Entries may
    come in any order; the fingerprint does not depend on it.
    """

    def __init__(
        self, destination: Path | None, listed_at: datetime, *, size_only: bool = False
    ) -> None:
        """Begin; without a destination, all that is listed is taken to be at home."""
        self._root = None if destination is None else os.fsencode(destination)
        self._listed_at = listed_at
        self._size_only = size_only
        self._files = self._bytes = self._folders = self._left_out = 0
        self._missing_files = self._missing_folders = 0
        self.missing_bytes = 0
        """Of the files that are not at home, so far."""
        self._fingerprint = 0

    def add(self, entry: Entry) -> bool:
        """Take one entry; whether it is at home."""
        if entry.kind is Kind.FOLDER:
            there = self._root is None or self._is_folder(entry)
            self._folders += 1
            self._missing_folders += not there
        elif entry.kind is Kind.FILE:
            there = self._root is None or entry.is_same(
                self._at_home(entry), size_only=self._size_only
            )
            self._files += 1
            self._bytes += entry.size
            if not there:
                self._missing_files += 1
                self.missing_bytes += entry.size
        else:
            self._left_out += 1
            return False
        self._note(entry)
        return there

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
        )

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

    def _at_home(self, entry: Entry) -> os.stat_result | None:
        assert self._root is not None
        try:
            return os.lstat(self._root + b"/" + entry.path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_folder(self, entry: Entry) -> bool:
        found = self._at_home(entry)
        return found is not None and stat.S_ISDIR(found.st_mode)
