"""Names that the file system at home refuses: found before a byte is fetched.

A name is tried on an empty file in a folder of ours (docs/decisions/0050).
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
"""What file systems say of a name that they refuse, and what that means. (exfat-fuse says ENOENT,
though the folder is there.)"""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

_Kind = tuple[frozenset[str], str, int]


class NameTrial:
    """Tries names in the folder for files on their way. For one thread."""

    def __init__(self, scratch: int) -> None:
        """`scratch`: that folder, open."""
        self._scratch = scratch
        self._taken: set[_Kind] = set()
        """Kinds of names of which one was taken: the others are not tried."""

    def refusal(self, name: bytes) -> int | None:
        """The errno with which home refuses a name; None: it takes it, or the trial failed.

        Names that differ in letters and digits alone are of one kind; one of them is tried.
        """
        text = os.fsdecode(name)
        reserved = _RESERVED.fullmatch(text)
        if len(name) <= _PLAIN_BYTES and not reserved and _PLAIN.fullmatch(name):
            return None
        others = frozenset(c for c in text if not (c.isascii() and c.isalnum()))
        ends = text if reserved else "/".join(c if c in others else "" for c in (text[0], text[-1]))
        kind = (others, ends, max(len(name), _PLAIN_BYTES))
        if kind in self._taken:
            return None
        try:
            self._make(name)
        except OSError as error:
            return _REFUSALS.get(error.errno or 0)
        self._taken.add(kind)
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
