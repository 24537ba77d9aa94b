"""One run of an engine that fetches over SFTP, as its coordinator does it, on one host or several.

Folders are made, files that are missing are found and cut, what was fetched in ranges is noted and
put in its place, and all is dated at the end: once, by one process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.chunks import Chunk, ChunkSize, Extent, WorkUnit, work_units
from asynchy.engines.faults import Fault, not_fetched
from asynchy.engines.placement import Placement, failed, home_tree
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import Task
from asynchy.engines.sftp.ranged_files import RangedFiles
from asynchy.localfs.copy_tree import error_reason, make_folders
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, ListingDiff
from asynchy.model.file_modes import Modes
from asynchy.model.file_times import tolerated


@dataclass(frozen=True)
class FileRules:
    """How files are compared, dated and given modes."""

    compare: str
    modes: Modes
    alignment: int = 1
    """Bytes; ranges that go on where an earlier run stats begin and end at multiples of it."""


@dataclass(frozen=True)
class MissingFiles:
    """What is to be fetched in one run, and who hears of it."""

    listing_diff: ListingDiff
    task: Task
    scratch: Scratch
    chunk_size: ChunkSize
    units: Iterator[WorkUnit]
    files: RangedFiles
    on_progress: OnProgress

    def on_durable(self, chunk: Chunk, extents: Sequence[Extent]) -> bool:
        """See `RangedFiles.durable`."""
        return self.files.durable(chunk, extents)


Fetch = Callable[[MissingFiles, Stop], FetchStats]
"""Moves the bytes, on this machine or on others."""


def run_transfer(
    job: Job, rules: FileRules, fetch: Fetch, stop: Stop, on_progress: OnProgress
) -> EngineResult:
    """Make the destination hold what the experiment holds; see `Engine.transfer`.

    Raises:
        CatalogueError: the contents cannot be read.
        OSError: the destination's own folder cannot be made.
    """
    copy = job.copy
    make_folders(copy)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(Scratch(copy, job.lease))
        copy_tree = stack.enter_context(home_tree(job, rules.modes, rules.compare))
        placement = Placement(job, copy_tree, rules.compare, scratch)
        stats = FetchStats()
        try:
            files = RangedFiles(scratch, copy_tree, placement, alignment=rules.alignment)
            stack.callback(files.close)
            stats = _Run(job, rules, scratch, placement, files).fetch(fetch, stop, on_progress)
            result = _result(stats, stop)
            if result.ok:
                placement.finish(stop)
        except OSError as error:
            result = _failed(*error_reason(error), stats)
    # It has the data of files that are not complete yet.
    scratch.drop(empty=not result.ok)
    return result


@dataclass(frozen=True)
class _Run:
    job: Job
    rules: FileRules
    scratch: Scratch
    placement: Placement
    files: RangedFiles

    def fetch(self, fetch: Fetch, stop: Stop, on_progress: OnProgress) -> FetchStats:
        placement, files = self.placement, self.files
        placement.make_folders(stop)
        if stop.requested:
            return FetchStats()
        listing_diff = self.job.listing_diff
        chunk_size = ChunkSize.of(listing_diff.missing_bytes, listing_diff.missing_files)
        units = work_units(self._missing(chunk_size, stop), chunk_size, files.existing)
        resumed = sum(length for extents in files.existing.values() for _, length in extents)
        on_progress(resumed, 0)
        stats = fetch(
            MissingFiles(
                listing_diff,
                self._task(),
                self.scratch,
                chunk_size,
                files.prepared(units),
                files,
                lambda moved, number: on_progress(resumed + moved, number),
            ),
            stop,
        )
        if not stats.first_fault:
            stats.first_fault, stats.hint = placement.first_fault, placement.hint
        stats.first_undated = stats.first_undated or placement.first_undated
        for fault, number in placement.faults.items():
            stats.faults[fault] += number
        placement.sum_up({fault.value: number for fault, number in stats.faults.items()})
        return stats

    def _task(self) -> Task:
        return Task(
            copy=self.job.copy,
            scratch=self.scratch.path,
            replaced=self.job.replaced,
            number=0,
            modes=self.rules.modes,
            size_only=self.rules.compare == "size",
            time_tolerance=tolerated(),
        )

    def _missing(self, chunk_size: ChunkSize, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those of which all has been fetched."""
        for entry, missing in self.placement.files(chunk_size.largest_whole, stop):
            if missing and not self.files.completes(entry):
                yield entry
        if not stop.requested:
            self.files.drop_obsolete()


def _result(stats: FetchStats, stop: Stop) -> EngineResult:
    if stop.requested:
        return replace(_failed("stopped", None, stats), stopped=True)
    if stats.broken is not None:
        return _failed(stats.broken.reason, stats.broken.hint, stats)
    if stats.lost is not None:
        failed = _failed(stats.lost.reason, stats.lost.hint, stats)
        return replace(failed, lost=not stats.lost.distrust)
    if not stats.faults:
        return EngineResult(
            ok=True,
            exit_code=0,
            files=stats.files,
            bytes=stats.bytes,
            reason=None,
            hint=None,
            stderr="",
        )
    worst = max(stats.faults, key=list(Fault).index)
    if worst is Fault.CHANGED:
        return replace(_failed(worst.value, None, stats), vanished=True)
    hint = "ask the facility to open it to the user" if worst is Fault.REFUSED else stats.hint
    undated = stats.faults.get(Fault.NO_TIME, 0)
    number = sum(stats.faults.values()) - undated
    return _failed(
        not_fetched(number, stats.first_fault, undated, stats.first_undated), hint, stats
    )


def _failed(reason: str, hint: str | None, stats: FetchStats) -> EngineResult:
    return failed(reason, hint, stats.files, stats.bytes, stats.first_fault or stats.first_undated)
