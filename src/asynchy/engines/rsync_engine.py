"""The rsync engine: several rsyncs over SSH, each with some files; asynchy puts them in place.

rsync writes into a folder that nobody else can reach (`staging`). The same code as for the sftp
engine (`placement`) decides which files it fetches and where they go.
"""

from __future__ import annotations

import contextlib
import logging
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from asynchy.engines import rsync_plan, rsync_results
from asynchy.engines.base import Job, OnProgress
from asynchy.engines.chunks import ChunkSize, work_units
from asynchy.engines.faults import Fault, not_fetched
from asynchy.engines.placement import Placement, failed, home_tree
from asynchy.engines.sftp import partial_files
from asynchy.engines.staging import StagedTree, Staging
from asynchy.errors import ListingError, Stopped
from asynchy.localfs.copy_tree import CopyTree, error_reason, make_folders
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry
from asynchy.model.formatting import escaped
from asynchy.model.transfer_options import TransferOptions
from asynchy.ssh import capabilities
from asynchy.ssh.rsync import fetcher, runner
from asynchy.ssh.server import Server, require_ssh

log = logging.getLogger(__name__)

_UNITS_PER_RSYNC = 4
"""For each of the rsyncs side by side, so that they end together."""
_COMPARE_BATCH = 2000
"""Files whose checksums one rsync compares."""


@dataclass(frozen=True)
class RsyncEngine:
    """Brings an experiment home with the system's rsync."""

    remote: Server
    transfer_options: TransferOptions = field(default_factory=TransferOptions)
    chosen: str = "it was asked for"
    name: str = "rsync"
    check: str = "transport"
    """rsync compares a checksum of each whole file that it received."""

    @property
    def compare(self) -> str:
        """By what a file at home counts as the same as the facility's."""
        return self.transfer_options.compare

    def require(self) -> None:
        """Look for rsync and ssh; see `Engine.require`."""
        runner.require()
        capabilities.warn_of_holes()
        require_ssh()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing, and put it in place; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        run = None
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(Scratch(copy, job.lease))
            copy_tree = stack.enter_context(
                home_tree(job, self.transfer_options.modes, self.compare)
            )
            try:
                partial_files.ours_alone(scratch.descriptor)
                staging = stack.enter_context(Staging(scratch))
                run = _RsyncTransfer(self, job, copy_tree, staging, scratch, on_progress)
                result = run.fetch(stop)
                if result.ok:
                    run.placement.finish(stop)
                    staging.drop()
            except OSError as error:
                result = failed(*error_reason(error), *((run.files, run.bytes) if run else (0, 0)))
        # It has files that the next run can use, also partial ones of the sftp engine.
        scratch.drop(empty=not result.ok)
        return result


class _RsyncTransfer:
    """One run of the engine for one copy."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a run works with
        self,
        engine: RsyncEngine,
        job: Job,
        copy_tree: CopyTree,
        staging: Staging,
        scratch: Scratch,
        on_progress: OnProgress,
    ) -> None:
        self._engine = engine
        self._job = job
        self._copy_tree = copy_tree
        self._staging = staging
        self._on_progress = on_progress
        self._scratch = scratch.descriptor
        self.placement = Placement(job, copy_tree, engine.compare, scratch)
        self._lock = threading.Lock()
        """Guards what the streams share: all attributes below, `placement`, and the iterator of
        batches.
        """
        self._progress: dict[int, tuple[int, int]] = {-1: (0, 0)}
        """Bytes and files that each rsync has reported; -1: those of an earlier run."""
        self.files = self.bytes = 0
        self._failed: list[EngineResult] = []
        self._is_over = False
        """Whether nothing more can be fetched."""
        self._vanished = 0
        """Files that are not at the facility any more."""
        self._lacking = 0
        """Files that an rsync did not bring which could not bring all."""
        self._first_lacking = b""
        self._refused = rsync_results.RefusedPaths()

    def fetch(self, stop: Stop) -> EngineResult:
        self.placement.make_folders(stop)
        if self._staging.has_left:
            for folder in self._job.contents.folders():
                self._staging.make_way(folder.path)
        else:  # otherwise, the first words of rsync count what it resumes
            self._on_progress(0, 0)
        batches = self._batches(stop)
        with ThreadPoolExecutor(self._streams) as pool:
            for future in [pool.submit(self._work, batches, stop) for _ in range(self._streams)]:
                future.result()
        if self._engine.transfer_options.brings_links and not (stop.requested or self._is_over):
            self._fetch_links(stop)
        return self._result(stop)

    @property
    def _streams(self) -> int:
        engine = self._engine
        return rsync_plan.streams(engine.remote, engine.transfer_options, self._job.listing_diff)

    @property
    def _has_earlier(self) -> bool:
        """Whether rsync may find a basis at home: to look for one costs it a fifth."""
        return self.placement.has_earlier or self._engine.compare == "checksum"

    @property
    def _idle_timeout(self) -> float:
        return rsync_plan.idle_timeout(self._engine.remote, self._job.listing_diff)

    def _batches(self, stop: Stop) -> Iterator[Sequence[Entry]]:
        """The files to fetch, a batch for each rsync."""
        listing_diff, streams = self._job.listing_diff, self._streams
        unit_count = 1 if streams == 1 else streams * _UNITS_PER_RSYNC
        chunk_size = ChunkSize.of_whole_files(
            listing_diff.missing_bytes, listing_diff.missing_files, unit_count
        )
        for unit in work_units(self._missing(chunk_size, stop), chunk_size, {}):
            yield [chunk.entry for chunk in unit.chunks]

    def _missing(self, chunk_size: ChunkSize, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those that an earlier run has fetched."""
        checksums = self._engine.compare == "checksum"
        unchanged: list[Entry] = []
        for entry, missing in self.placement.files(chunk_size.bytes, stop):
            if self._is_over:
                return
            if (missing or checksums) and len(entry.path) > fetcher.MAX_PATH_BYTES:
                self.placement.refuse(entry.path, rsync_results.path_too_long())
            elif missing:
                if self._completes(entry):
                    size, files = self._progress.get(-1, (0, 0))
                    self._progress[-1] = size + entry.size, files + 1
                else:
                    yield entry
            elif checksums:
                unchanged.append(entry)
            if len(unchanged) == _COMPARE_BATCH:
                yield from self._changed_files(unchanged, stop)
                unchanged.clear()
        if unchanged:
            yield from self._changed_files(unchanged, stop)

    def _completes(self, entry: Entry) -> bool:
        """Put a missing file in its place if an earlier run left all of it."""
        try:
            return self._staging.completes(entry, self._copy_tree)
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self.placement.refuse(entry.path, error)
            return True

    def _changed_files(self, unchanged: Sequence[Entry], stop: Stop) -> list[Entry]:
        """Those files whose checksum at the facility differs, or is not reported."""
        is_same: dict[bytes, bool] = {}
        engine, copy = self._engine, self._job.copy
        size = sum(entry.size for entry in unchanged)
        idle_timeout = rsync_plan.checksum_idle_timeout(engine.remote, size)
        paths = [entry.path for entry in unchanged]
        try:
            runner.compare_files(
                engine.remote, copy.source, copy.destination, paths, is_same.__setitem__, stop,
                idle_timeout,
            )  # fmt: skip
        except Stopped as error:
            self._note(rsync_results.stopped_result(str(error)))
            return []
        except ListingError as error:
            result = failed(error.message, error.hint, 0, 0)
            self._note(replace(result, lost=error.transient))
            return []
        return [entry for entry in unchanged if not is_same.get(entry.path)]

    def _work(self, batches: Iterator[Sequence[Entry]], stop: Stop) -> None:
        """One stream: fetch some files, put them in place, until there are no more."""
        copy_tree = home_tree(self._job, self._engine.transfer_options.modes, self._engine.compare)
        with copy_tree, self._staging.opened() as staged:
            try:
                while not (stop.requested or self._is_over):
                    with self._lock:
                        entries = next(batches, ())
                    if not entries or self._is_over:
                        return
                    result, entries = self._fetched(entries, staged, stop)
                    with self._lock:
                        self._note(result)
                    self._place(entries, staged, copy_tree, stop, all_came=result.ok)
            except BaseException:
                self._is_over = True
                raise

    def _fetched(
        self, entries: Sequence[Entry], staged: StagedTree, stop: Stop
    ) -> tuple[EngineResult, Sequence[Entry]]:
        """Fetch some files; returns the result, and the files that it is about.

        rsync ends at a file that cannot be written at home: it is refused, and the others fetched.
        """
        result = self._rsync(entries, stop)
        while rsync_results.ended_at_a_file(result) and not stop.requested:
            lacking = [entry for entry in entries if staged.find(entry.path) is None]
            fault = rsync_results.not_written(result, lacking, self._refused)
            if fault is None:
                break
            refused, error = fault
            with self._lock:
                self._note(replace(result, ok=True))
                self.placement.refuse(refused.path, error)
            entries = [entry for entry in entries if entry is not refused]
            lacking.remove(refused)
            result = self._rsync(lacking, stop) if lacking else replace(result, ok=True)
        return result, entries

    def _rsync(self, entries: Sequence[Entry], stop: Stop) -> EngineResult:
        engine, copy = self._engine, self._job.copy
        with self._lock:
            number = len(self._progress)
            self._progress[number] = 0, 0

        def report_progress(size: int, files: int) -> None:
            with self._lock:
                _, files_before = self._progress.get(number, (0, 0))
                self._progress[number] = (size, max(files_before, files))
                all_progress = self._progress.values()
                totals = (
                    sum(size for size, _ in all_progress),
                    sum(count for _, count in all_progress),
                )
                self._on_progress(*totals)  # in order

        earlier = copy.destination if self._has_earlier else None
        paths = fetcher.Paths(copy.source, self._staging.tree.descriptor, earlier)
        names = (entry.path for entry in entries)
        try:
            return fetcher.fetch_files(
                engine.remote, paths, names, engine.transfer_options, stop, report_progress,
                self._refused.note, self._idle_timeout,
            )  # fmt: skip
        except Stopped as error:
            return rsync_results.stopped_result(str(error))

    def _note(self, result: EngineResult) -> None:
        self.bytes += result.bytes or 0
        if not result.ok:
            self._failed.append(result)
            self._is_over |= not rsync_results.others_may_come(result)

    def _place(
        self,
        entries: Sequence[Entry],
        staged: StagedTree,
        copy_tree: CopyTree,
        stop: Stop,
        *,
        all_came: bool,
    ) -> None:
        """Put in place what has come; `all_came`: the rest has vanished, or home refused it."""
        if not stop.requested:
            self._staging.flush()
        for entry in entries:
            if stop.requested:
                return  # the next run does it
            file_stat = staged.find(entry.path)
            if file_stat is None or not stat.S_ISREG(file_stat.st_mode):
                with self._lock:
                    self._note_lacking(entry.path, vanished=all_came)
                continue
            fetched = file_stat.st_size, file_stat.st_mtime_ns // 1_000_000_000
            try:
                with self._lock:
                    keep = self.placement.keeps_existing(
                        entry.path, fetched, copy_tree.find(entry.path)
                    )
                if keep:
                    log.info("%s was changed at home; left alone", escaped(entry.path))
                    staged.drop(entry.path)
                    continue
                staged.place(entry, copy_tree)
                placed = True
            except OSError as error:
                placed = isinstance(error, TimeNotHeld)
                if not placed and not is_about_one_place(error, self._scratch):
                    raise
                with self._lock:
                    self.placement.refuse(entry.path, error)
            with self._lock:
                self.files += placed

    def _note_lacking(self, path: bytes, *, vanished: bool) -> None:
        if (error := self._refused.error_of(path)) is not None:
            if is_about_one_place(error, self._scratch):
                self.placement.refuse(path, error)
                return
            if vanished:  # rsync went on
                raise error
        if vanished:
            self._vanished += 1
        else:
            self._lacking += 1
            self._first_lacking = self._first_lacking or path

    def _fetch_links(self, stop: Stop) -> None:
        """Bring links and special files; each that has no place is named, the others come."""
        engine, copy = self._engine, self._job.copy
        with self._staging.for_links() as links:
            try:
                result = fetcher.fetch_links(
                    engine.remote, copy.source, links.descriptor, engine.transfer_options, stop,
                    self.placement.refuse_link, self._idle_timeout,
                )  # fmt: skip
            except Stopped as error:
                result = rsync_results.stopped_result(str(error))
            partly = self._job.listing_diff.unlisted and rsync_results.others_may_come(result)
            if not partly:  # the verdict names the folders that could not be listed
                self._note(replace(result, files=0, bytes=0))
            for path in list(links.links()):
                if stop.requested:
                    return
                try:
                    if links.correct_link(path, copy.source):
                        links.place_link(path, self._copy_tree)
                except OSError as error:
                    if not is_about_one_place(error, self._scratch):
                        raise
                    self.placement.refuse_link(path, error)

    def _result(self, stop: Stop) -> EngineResult:
        result = self._verdict(stop)
        if result.files is None and not (self.files or self.bytes):
            return result  # ended before it could report
        return replace(result, files=self.files, bytes=self.bytes)

    def _verdict(self, stop: Stop) -> EngineResult:
        stopped = next((result for result in self._failed if result.stopped), None)
        if stop.requested or stopped:
            return stopped or rsync_results.stopped_result("stopped")
        worst_result = min(self._failed, key=rsync_results.rank, default=None)
        if worst_result is not None and not worst_result.vanished:
            return self._with_first_file(worst_result)
        placement = self.placement
        if placement.faults:
            placement.sum_up({fault.value: number for fault, number in placement.faults.items()})
            first_fault = placement.first_fault or placement.first_undated
            return failed(
                self._not_fetched(placement.first_fault), placement.hint, 0, 0, first_fault
            )
        if worst_result is not None:
            return worst_result
        if self._vanished:
            return rsync_results.vanished_result(self._vanished)
        return rsync_results.complete_result()

    def _with_first_file(self, worst_result: EngineResult) -> EngineResult:
        """A failure that names a file of the experiment, if it is about some files alone."""
        if not (self._lacking or self.placement.unplaced) or not rsync_results.others_may_come(
            worst_result
        ):
            return worst_result
        first_fault = f"{escaped(self._first_lacking, limit=200)}: {worst_result.reason}"
        faults = {fault.value: files for fault, files in self.placement.faults.items()}
        lacking = {"not fetched": self._lacking} if self._lacking else {}
        self.placement.sum_up(lacking | faults)
        return replace(
            worst_result, reason=self._not_fetched(self.placement.first_fault or first_fault)
        )

    def _not_fetched(self, first_fault: str) -> str:
        faults, undated = self.placement.faults, self.placement.first_undated
        number = self._lacking + faults.get(Fault.NOT_PLACED, 0)
        return not_fetched(number, first_fault, faults.get(Fault.NO_TIME, 0), undated)
