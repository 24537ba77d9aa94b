"""Decides where fetched files go at home; the same for every engine.

It makes folders, finds the files that are missing, leaves alone those that people changed, and
names what is in the way.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator, Mapping

from asynchy.engines.base import Job
from asynchy.engines.faults import MAX_NAMED, Fault, log_fault
from asynchy.engines.name_collisions import colliding_names
from asynchy.localfs.copy_tree import CopyTree, error_reason
from asynchy.localfs.mode_and_time import TimeNotHeld, time_not_held
from asynchy.localfs.name_trial import NameTrial
from asynchy.localfs.partial_cleanup import drop_partial_files
from asynchy.localfs.place_trial import is_about_one_place
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, is_changed, same_place_words
from asynchy.model.file_modes import Modes
from asynchy.model.file_times import is_time, same_time
from asynchy.model.formatting import escaped
from asynchy.model.verification import Recorded, is_edited

log = logging.getLogger(__name__)

FAILED = 1
"""The exit code of a run in which no program failed."""
_OPEN_FOLDER = "make its folder at home writable for the user that runs asynchy"


class Placement:
    """The copy at home in one run of an engine. For one thread; its methods raise OSError."""

    def __init__(self, job: Job, copy_tree: CopyTree, compare: str, scratch: Scratch) -> None:
        self._job = job
        self._copy_tree = copy_tree
        self._scratch = scratch
        self._names = NameTrial(scratch.descriptor)
        self._size_only = compare == "size"
        self._blocked: tuple[bytes, ...] = ()
        """The beginnings of paths that lead through something else than a folder at home."""
        self._collisions: dict[bytes, bytes] = {}
        """Paths that lead to the same file as another path: `colliding_names`."""
        self._unplaced = 0
        self._fault_count = 0
        self._unset = 0
        """Files and folders whose time or mode could not be set."""
        self._looked_at: bytes | None = None
        self._refusal: int | None = None
        """Whether files can be put into the folder that was looked at last."""
        self.first_fault = ""
        """The first file or folder that has no place, and why; empty: all have one."""
        self.hint: str | None = None
        """The hint, if `first_fault` has none."""
        self._undated = 0
        self.first_undated = ""
        """The first file that is at home without its time, and why; empty: all have it."""
        self.has_earlier = False
        """Whether a missing file has been seen of which there is an earlier version at home."""

    @property
    def unplaced(self) -> int:
        """Files that could not be put in their place; folders, if there are no such files."""
        return self._unplaced or len(self._blocked)

    @property
    def faults(self) -> dict[Fault, int]:
        """How many files have no place, and how many no time."""
        counts = {Fault.NOT_PLACED: self.unplaced, Fault.NO_TIME: self._undated}
        return {fault: number for fault, number in counts.items() if number}

    def make_folders(self, stop: Stop) -> None:
        """Make the folders. If something else is in the way of one, its files are left out."""
        self._collisions = colliding_names(self._scratch, self._job.contents)
        for folder in self._job.contents.folders():
            if stop.requested:
                return
            self._require_lease()
            if folder.path.startswith(self._blocked):
                continue
            if folder.path in self._collisions:
                self._blocked += (folder.path + b"/",)
                self._refuse_name(folder.path)
                continue
            try:
                self._copy_tree.make_folder(folder)
            except OSError as error:
                if not is_about_one_place(error, self._scratch.descriptor):
                    raise
                self._blocked += (folder.path + b"/",)
                self._report(folder.path, self._folder_error(folder.path, error))

    def _folder_error(self, folder: bytes, error: OSError) -> OSError:
        """Why a folder could not be made; the refusal of its name, if that is the cause."""
        if error.errno != errno.ENOENT:
            return error
        refusal = self._names.refusal(folder.rpartition(b"/")[2])
        return error if refusal is None else OSError(refusal, os.strerror(refusal))

    def files(self, larger_than: int, stop: Stop) -> Iterator[tuple[Entry, bool]]:
        """Each file that is to be at home, and whether it is missing there.

        Those that are there get the time that they are to have. Those that people changed,
        also since they were listed, are left out; so are those that have no place.
        """
        for entry in self._job.contents.files(larger_than):
            if stop.requested:
                return
            if entry.path in self._collisions:
                self._unplaced += 1
                self._refuse_name(entry.path)
                continue
            try:
                file_stat = self._copy_tree.find(entry.path)
            except OSError as error:
                if not is_about_one_place(error, self._scratch.descriptor):
                    raise
                self.refuse(entry.path, error)
                continue
            if not self._has_place(entry, file_stat):
                continue
            missing = self._is_missing(entry, file_stat)
            if missing is not None:
                yield entry, missing

    def _is_missing(self, entry: Entry, file_stat: os.stat_result | None) -> bool | None:
        """Whether a file is to be fetched; None: the file at home is kept, though it differs."""
        if file_stat is None:
            return True
        if self._is_edited(entry.path, _facts(entry), file_stat):
            keep = not self._job.restore
        elif self._is_same(entry, file_stat):
            self._correct_time(entry, file_stat)
            return False
        else:
            keep = self._has_nearest_time(entry, file_stat)
        self.has_earlier |= not keep
        return None if keep else True

    def keeps_existing(
        self, path: bytes, fetched: tuple[int, int], file_stat: os.stat_result | None
    ) -> bool:
        """Whether the file at home is kept, in place of a fetched one of that size and time.

        It does if a person changed it, unless the facility's is wanted all the same.
        """
        return (
            not self._job.restore
            and file_stat is not None
            and self._is_edited(path, fetched, file_stat)
        )

    def refuse(self, path: bytes, error: OSError) -> None:
        """Note that a file that was fetched has no place, or is in its place without its time."""
        if isinstance(error, TimeNotHeld):
            self._undated += 1
        else:
            self._unplaced += 1
        self._report(path, error)

    def refuse_link(self, path: bytes, error: OSError) -> None:
        """Note that a link or special file has no place; its folder may have been named for it."""
        self._unplaced += 1
        if not (path + b"/").startswith(self._blocked):
            self._report(path, error)

    def _require_lease(self) -> None:
        if self._job.lease is not None:
            self._job.lease.require()

    def sum_up(self, failed: Mapping[str, int]) -> None:
        """Log how many files have a fault, by cause, if they are more than were named."""
        if sum(failed.values()) > MAX_NAMED:
            causes = ", ".join(f"{cause}: {number:,}" for cause, number in failed.items())
            log.warning(
                "%s: the first %d files with a fault are named above, the others above at level "
                "INFO; in all: %s",
                self._job.copy.epn, MAX_NAMED, causes,
            )  # fmt: skip

    def finish(self, stop: Stop) -> None:
        """All files are in their places: clear up, date the folders, and flush all of it."""
        drop_partial_files(self._copy_tree, stop)
        for folder in self._job.contents.folders():
            self._require_lease()
            self._set_attributes(folder)
        self._copy_tree.flush()

    def _is_edited(self, path: bytes, facility: tuple[int, int], file_stat: os.stat_result) -> bool:
        """Whether a person changed a file that the facility has as it was when it arrived."""
        if not is_edited(file_stat, Recorded(*facility)):
            return False
        recorded = self._job.contents.recorded(path)
        return (
            recorded is not None and recorded.facts == facility and is_edited(file_stat, recorded)
        )

    def _is_same(self, entry: Entry, file_stat: os.stat_result) -> bool:
        if entry.is_same(file_stat, size_only=self._size_only):
            return True
        same_size = entry.is_same(file_stat, size_only=True)
        if not same_size:
            return False
        recorded = self._job.contents.recorded(entry.path)
        return recorded is not None and is_changed(entry, recorded.facts)

    def _has_nearest_time(self, entry: Entry, file_stat: os.stat_result) -> bool:
        """Whether a file has the nearest time that the file system at home can store.

        True, too, if it stores no times at all. To fetch the file again would change nothing; the
        wrong time is reported.
        """
        if not entry.is_same(file_stat, size_only=True):
            return False
        time_at_home = self._scratch.time_at_home(entry.modified)
        if time_at_home is not None and (
            same_time(time_at_home, entry.modified) or not is_time(file_stat, time_at_home)
        ):
            return False
        self.refuse(entry.path, time_not_held(entry.modified, time_at_home))
        return True

    def _has_place(self, entry: Entry, file_stat: os.stat_result | None) -> bool:
        """Whether a file can be put in its place, where that was found."""
        blocked = entry.path.startswith(self._blocked)
        error = None
        if not blocked and file_stat is None and (refusal := self._refused(entry.path)) is not None:
            error = OSError(refusal, os.strerror(refusal))
        elif not blocked and (file_stat is None or not stat.S_ISDIR(file_stat.st_mode)):
            return True
        elif not blocked:
            error = self._copy_tree.in_the_way(entry.path)
        self._unplaced += 1
        if error is not None:
            self._report(entry.path, error)
        return False

    def _refused(self, path: bytes) -> int | None:
        """Why no file can be put there; checked before it is fetched in vain each time."""
        folder, _, name = path.rpartition(b"/")
        if folder != self._looked_at:
            self._looked_at = folder
            self._refusal = self._copy_tree.refusal(path)
        return self._refusal or self._names.refusal(name)

    def _refuse_name(self, path: bytes) -> None:
        self._report(path, OSError(errno.EEXIST, same_place_words(self._collisions[path])))

    def _report(self, path: bytes, error: OSError) -> None:
        self._fault_count += 1
        reason, hint = error_reason(error)
        message = f"{escaped(path, limit=200)}: {reason}"
        if error.errno in {errno.EACCES, errno.EPERM}:
            hint = _OPEN_FOLDER
        if isinstance(error, TimeNotHeld):
            self.first_undated = self.first_undated or message
        elif not self.first_fault:
            self.first_fault, self.hint = message, hint
        log_fault(self._fault_count, message, hint)

    def _correct_time(self, entry: Entry, file_stat: os.stat_result) -> None:
        if self._job.restore or not is_time(file_stat, entry.modified):
            self._set_attributes(entry)

    def _set_attributes(self, entry: Entry) -> None:
        try:
            self._copy_tree.set_attributes(entry, mode=self._job.restore)
        except OSError as error:  # of another owner, perhaps; its data is what counts
            self._unset += 1
            if self._unset <= MAX_NAMED:
                log.warning("%s: its time or mode stays: %s", escaped(entry.path), error.strerror)


def _facts(entry: Entry) -> tuple[int, int]:
    return entry.size, entry.modified


def home_tree(job: Job, modes: Modes, compare: str) -> CopyTree:
    """The copy's tree, opened to put files into it."""
    return CopyTree(job.copy, job.replaced, modes, size_only=compare == "size")


def failed(reason: str, hint: str | None, files: int, size: int, stderr: str = "") -> EngineResult:
    """The result of a run that failed without a failed program."""
    return EngineResult(
        ok=False,
        exit_code=FAILED,
        files=files,
        bytes=size,
        reason=reason,
        hint=hint,
        stderr=stderr or reason,
    )
