"""What a transfer decides and does at home, whichever engine fetches the files.

Folders are made, files that are missing are found, those that people changed are left alone, and
what lies in the way is named.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.domain.text import count, shown
from asynchy.transfer.engine import Job
from asynchy.transfer.home import Home, why
from asynchy.transfer.leftovers import drop_partial_files
from asynchy.tree import is_about_one_file

log = logging.getLogger(__name__)

FAILED = 1
"""The exit code of a run in which no program failed."""
_NAMED = 10
"""Things that lie in the way and are named in the log."""


class Placing:
    """The copy at home in one run of an engine. For one thread; its methods raise OSError."""

    def __init__(self, job: Job, home: Home, compare: str) -> None:
        self._job = job
        self._home = home
        self._size_only = compare == "size"
        self._blocked: tuple[bytes, ...] = ()
        """The beginnings of paths that lead through something else than a folder at home."""
        self._unplaced = 0
        self._told = 0
        self._kept = 0
        """Files and folders whose time and mode could not be set."""
        self._looked_at: bytes | None = None
        self._writable = True
        """Whether files can be put into the folder that was looked at last."""
        self.first = ""
        """The first file or folder that has no place, and why; empty: all have one."""
        self.has_earlier = False
        """Whether a missing file has been seen of which there is an earlier version at home."""

    @property
    def unplaced(self) -> int:
        """Files for which there is no place; folders, where there are no such files."""
        return self._unplaced or len(self._blocked)

    def make_folders(self, stop: Stop) -> None:
        """Make the folders; where something else lies in the way, what is in one is left out."""
        for folder in self._job.contents.folders():
            if stop.asked:
                return
            if folder.path.startswith(self._blocked):
                continue
            try:
                self._home.make_folder(folder)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                self._blocked += (folder.path + b"/",)
                self._tell(folder.path, error)

    def files(self, larger_than: int, stop: Stop) -> Iterator[tuple[Entry, bool]]:
        """Each file that is to be at home, and whether it is missing there.

        Those that are there get the time and mode that they are to have. Those that people changed,
        also since they were listed, are left out; so are those that have no place.
        """
        for entry in self._job.contents.files(larger_than):
            if stop.asked:
                return
            try:
                found = self._home.find(entry.path)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                self.refuse(entry.path, error)
                continue
            if not self._has_place(entry, found):
                continue
            if found is None:
                yield entry, True
            elif self._is_edited(entry.path, _facts(entry), found):
                if self._job.restore:
                    self.has_earlier = True
                    yield entry, True
            elif not entry.is_same(found, size_only=self._size_only):
                self.has_earlier = True
                yield entry, True
            else:
                self._mend(entry, found)
                yield entry, False

    def stays(self, path: bytes, fetched: tuple[int, int], found: os.stat_result | None) -> bool:
        """Whether what was found at home stays, in place of a file of that size and time.

        It does if a person changed it, unless the facility's is wanted all the same.
        """
        return not self._job.restore and found is not None and self._is_edited(path, fetched, found)

    def refuse(self, path: bytes, error: OSError) -> None:
        """Note that a file that was fetched has no place."""
        self._unplaced += 1
        self._tell(path, error)

    def finish(self, stop: Stop) -> None:
        """All files are in their places: clear up, date the folders, and flush all of it."""
        drop_partial_files(self._home, stop)
        for folder in self._job.contents.folders():
            self._settle(folder)
        self._home.flush()

    def _is_edited(self, path: bytes, facility: tuple[int, int], found: os.stat_result) -> bool:
        """Whether a person changed a file that the facility has as it was when it arrived."""
        if not stat.S_ISREG(found.st_mode):
            return False
        at_home = found.st_size, found.st_mtime_ns // 1_000_000_000
        return at_home != facility and self._job.contents.recorded(path) == facility

    def _has_place(self, entry: Entry, found: os.stat_result | None) -> bool:
        """Whether a file can be put in its place, where that was found."""
        blocked = entry.path.startswith(self._blocked)
        error = None
        if not blocked and found is None and not self._may_write(entry.path):
            error = OSError(errno.EACCES, os.strerror(errno.EACCES))
        elif not blocked and (found is None or not stat.S_ISDIR(found.st_mode)):
            return True
        elif not blocked:
            error = self._home.in_the_way(entry.path)
        self._unplaced += 1
        if error is not None:
            self._tell(entry.path, error)
        return False

    def _may_write(self, path: bytes) -> bool:
        """Whether a file can be put there. What was fetched for nothing would be so each time."""
        folder = path.rpartition(b"/")[0]
        if folder != self._looked_at:
            self._looked_at = folder
            self._writable = self._home.may_write(path)
        return self._writable

    def _tell(self, path: bytes, error: OSError) -> None:
        self._told += 1
        words = f"{shown(path, limit=200)}: {why(error)[0]}"
        self.first = self.first or words
        if self._told <= _NAMED:
            log.warning("%s", words)

    def _mend(self, entry: Entry, found: os.stat_result) -> None:
        if (
            stat.S_IMODE(found.st_mode) == entry.mode_at_home
            and found.st_mtime_ns // 1_000_000_000 == entry.modified
        ):
            return
        self._settle(entry)

    def _settle(self, entry: Entry) -> None:
        try:
            self._home.settle(entry)
        except OSError as error:  # of another owner, perhaps; its data is what counts
            self._kept += 1
            if self._kept <= _NAMED:
                log.warning("%s: its time and mode stay: %s", shown(entry.path), error.strerror)


def _facts(entry: Entry) -> tuple[int, int]:
    return entry.size, entry.modified


def not_fetched(number: int, first: str) -> str:
    """That some files are not at home now, in words."""
    return f"{count(number, 'file')} could not be fetched, the first of them {first}"


def failed(reason: str, hint: str | None, files: int, size: int, stderr: str = "") -> EngineResult:
    """The result of a run that failed, where no program says so."""
    return EngineResult(
        ok=False,
        exit_code=FAILED,
        files=files,
        bytes=size,
        reason=reason,
        hint=hint,
        stderr=stderr or reason,
    )
