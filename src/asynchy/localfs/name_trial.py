"""Finds names that the file system at home refuses, before a byte is fetched.

A name is tried on an empty file in a folder of asynchy (docs/decisions/0050).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re

from asynchy.localfs.safe_tree import FOLDER

_FOLDER = "name"
"""In the folder for files on their way, while a name is tried."""
_PLAIN = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
"""Names that each file system takes, if they are not reserved."""
_PLAIN_BYTES = 128
"""Bytes of a name up to which no file system refuses it: eCryptfs takes 143."""
_RESERVED = re.compile(r"(con|prn|aux|nul|clock\$|com.|lpt.)(\..*)?", re.IGNORECASE | re.DOTALL)
"""Names of devices, which Windows refuses, and so does NTFS with `windows_names`."""
_REFUSALS = {
    errno.EINVAL: errno.EINVAL,
    errno.EILSEQ: errno.EILSEQ,
    errno.ENAMETOOLONG: errno.ENAMETOOLONG,
    errno.ENOENT: errno.EINVAL,
}
"""The errors of file systems for a name that they refuse, and their meaning. (exfat-fuse returns
ENOENT, though the folder exists.)
"""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

_Kind = tuple[frozenset[str], str, int]


class NameTrial:
    """Tries names in the folder for files on their way. For one thread."""

    def __init__(self, scratch: int) -> None:
        """`scratch`: that folder, open."""
        self._scratch = scratch
        self._accepted: set[_Kind] = set()
        """Kinds of names of which one was accepted: the others are not tried."""

    def refusal(self, name: bytes) -> int | None:
        """The errno with which the file system refuses a name; None: accepted, or the trial failed.

        Names that differ only in letters and digits are of one kind; one of them is tried.
        """
        text = os.fsdecode(name)
        reserved = _RESERVED.fullmatch(text)
        if len(name) <= _PLAIN_BYTES and not reserved and _PLAIN.fullmatch(name):
            return None
        special_characters = frozenset(
            character for character in text if not (character.isascii() and character.isalnum())
        )
        ends = (
            text
            if reserved
            else "/".join(
                character if character in special_characters else ""
                for character in (text[0], text[-1])
            )
        )
        kind = (special_characters, ends, max(len(name), _PLAIN_BYTES))
        if kind in self._accepted:
            return None
        try:
            self._make(name)
        except OSError as error:
            return _REFUSALS.get(error.errno or 0)
        self._accepted.add(kind)
        return None

    def _make(self, name: bytes) -> None:
        with contextlib.suppress(FileExistsError):  # of a run that was killed
            os.mkdir(_FOLDER, 0o700, dir_fd=self._scratch)
        folder = os.open(_FOLDER, FOLDER, dir_fd=self._scratch)
        try:
            os.close(os.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder))
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)
            os.rmdir(_FOLDER, dir_fd=self._scratch)
