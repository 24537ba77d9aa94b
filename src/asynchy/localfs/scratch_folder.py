"""The folder for files on their way to a copy, beside it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Self

from asynchy.localfs.copy_tree import drop, make_if_missing
from asynchy.localfs.lease_folder import lease_folder
from asynchy.localfs.mode_and_time import dated
from asynchy.localfs.safe_tree import FOLDER, opened, own_folder_name
from asynchy.model.experiment import Copy
from asynchy.model.formatting import escaped
from asynchy.model.lease import Lease

log = logging.getLogger(__name__)

LOCK = "lock"
"""In the folder."""
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE = ".asynchy-probe"
_MAX_NAME_BYTES = 200


class Scratch:
    """The folder for files on their way, for one attempt alone; a context manager.

    It is beside the data (docs/decisions/0007): `.asynchy-data`, or another name if another user
    has that one; in the copy's own folder if that is a file system of its own. A lock in it keeps
    out processes that use another catalogue for the same destination: leases are in the catalogue,
    and cannot.
    """

    def __init__(self, copy: Copy, lease: Lease | None = None) -> None:
        """Make it, and lock it. Under a lease that other machines may take over, it is one of its.

        Raises:
            OSError: it cannot be made, or another process works there.
        """
        self.descriptor, self.path = _make_in(copy, copy.destination.parent)
        if not _leads_home(self.descriptor, copy):
            os.close(self.descriptor)
            drop(copy.project_folder, self.path, empty=True)
            self.descriptor, self.path = _make_in(copy, copy.destination)
        self._project, self._above = copy.project_folder, self.path
        if lease is not None and lease.is_shared:
            above = self.descriptor
            try:
                name = lease_folder(above, lease.number, LOCK, copied=lease.former_may_live)
                self.path = self.path / name
                self.descriptor = os.open(name, FOLDER, dir_fd=above)
            finally:
                os.close(above)
        try:
            self._lock = _locked(self.descriptor, self.path)
        except OSError:
            os.close(self.descriptor)
            raise

    def drop(self, *, empty: bool) -> None:
        """Remove it with all that is in it; `empty`: only if there is nothing in it."""
        drop(self._project, self.path, empty=empty)
        if self.path != self._above:
            drop(self._project, self._above, empty=True)

    def time_at_home(self, modified: int) -> int | None:
        """The time in seconds that a file gets here if set to `modified`; None: refused."""
        os.close(os.open(_PROBE, _LOCK_FLAGS, 0o600, dir_fd=self.descriptor))
        try:
            return dated(self.descriptor, _PROBE, modified)
        finally:
            os.unlink(_PROBE, dir_fd=self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LOCK, dir_fd=self.descriptor)
        os.close(self._lock)
        os.close(self.descriptor)


def _make_in(copy: Copy, parent: Path) -> tuple[int, Path]:
    """The folder for files on their way in another one, opened, and its path."""
    parent_fd = opened(copy.project_folder, parent)
    try:
        name = own_folder_name(parent_fd, f".asynchy-{copy.destination.name}")
        # Its setgid bit, if any, gives the files in it to the project's group.
        make_if_missing(parent_fd, name)
        return os.open(name, FOLDER, dir_fd=parent_fd), parent / name
    except OSError as error:
        path = parent / (error.filename or "")
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(parent_fd)


def _leads_home(scratch: int, copy: Copy) -> bool:
    """Whether a file can be renamed from a folder into the copy's: they may be of two mounts.

    It is tried: some file systems that join others (mergerfs) are one device, and refuse.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(_PROBE, _LOCK_FLAGS | os.O_EXCL, 0o600, dir_fd=scratch))
    destination = opened(copy.project_folder, copy.destination)
    try:
        os.rename(_PROBE, _PROBE, src_dir_fd=scratch, dst_dir_fd=destination)
        os.unlink(_PROBE, dir_fd=destination)
    except OSError as error:
        os.unlink(_PROBE, dir_fd=scratch)
        return error.errno != errno.EXDEV  # any other error is reported when it matters
    finally:
        os.close(destination)
    return True


def _locked(scratch: int, path: Path) -> int:
    lock = os.open(LOCK, _LOCK_FLAGS, 0o600, dir_fd=scratch)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = escaped(os.pread(lock, _MAX_NAME_BYTES, 0), limit=_MAX_NAME_BYTES)
        os.close(lock)
        holder = holder or "another process"
        reason = f"{holder} works on this copy; two configs have one destination"
        raise OSError(errno.EBUSY, reason, str(path)) from None
    except OSError as error:  # some file systems know no locks
        log.debug("%s: no lock: %s", path, error)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
    return lock
