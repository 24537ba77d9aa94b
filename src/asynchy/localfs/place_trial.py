"""Whether an error at home is about one place in a copy: the copy takes other files."""

from __future__ import annotations

import errno
import os
import threading

from asynchy.localfs.safe_tree import is_about_one_file

_OF_A_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE})
"""Errors of another file system that is mounted in the copy, or of one branch of a mergerfs."""
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = bytes(4096)


def is_about_one_place(error: OSError, scratch: int) -> bool:
    """Whether an error of putting something in its place is about that place alone.

    `scratch`: the folder for files on their way, open. Where a full or read-only file system is
    the cause, it is tried whether that folder takes a file, flushed.
    """
    if is_about_one_file(error):
        return True
    return error.errno in _OF_A_PLACE and _takes_a_file(scratch)


def _takes_a_file(folder: int) -> bool:
    name = f"try-{os.getpid()}-{threading.get_native_id()}"
    try:
        file = os.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder)
        try:
            is_whole = os.write(file, _BLOCK) == len(_BLOCK)
            os.fsync(file)
        finally:
            os.close(file)
            os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return is_whole
