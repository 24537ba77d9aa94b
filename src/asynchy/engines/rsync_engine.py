"""The rsync engine: several rsyncs over SSH, each with some files; asynchy puts them in place.

rsync writes into a folder that nobody else can reach (`staging`). What it is asked for, and what
becomes of what it brought, is decided by the same code as for the sftp engine (`placing`).
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
from asynchy.engines.placing import Placement, failed, home_tree
from asynchy.engines.staging import StagedTree, Staging
from asynchy.errors import ListingError, Stopped
from asynchy.localfs.copy_tree import CopyTree, Scratch, drop, error_reason, make_folders
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
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
"""Files whose checksums are compared by one rsync."""


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
        """What makes a file at home the same as the facility's."""
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
            scratch = stack.enter_context(Scratch(copy))
            home = stack.enter_context(home_tree(job, self.transfer_options.modes, self.compare))
            try:
                staging = stack.enter_context(Staging(scratch))
                run = _RsyncTransfer(self, job, home, staging, scratch, on_progress)
                result = run.fetch(stop)
                if result.ok:
                    run.placing.finish(stop)
                    staging.drop()
            except OSError as error:
                result = failed(*error_reason(error), *((run.files, run.bytes) if run else (0, 0)))
        # What the next run can use is in it, also parts of the sftp engine.
        drop(copy.project_folder, scratch.path, empty=not result.ok)
        return result


class _RsyncTransfer:
    """One run of the engine for one copy."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a run works with
        self,
        engine: RsyncEngine,
        job: Job,
        home: CopyTree,
        staging: Staging,
        scratch: Scratch,
        on_progress: OnProgress,
    ) -> None:
        self._engine = engine
        self._job = job
        self._home = home
        self._staging = staging
        self._on_progress = on_progress
        self._scratch = scratch.descriptor
        self.placing = Placement(job, home, engine.compare, scratch)
        self._lock = threading.Lock()
        """For what the streams share: all that follows, `placing`, and what is still to fetch."""
        self._heard: dict[int, tuple[int, int]] = {-1: (0, 0)}
        """Bytes and files, as each rsync has told them; -1: what was there already."""
        self.files = self.bytes = 0
        self._failed: list[EngineResult] = []
        self._over = False
        """Whether nothing more can be fetched."""
        self._vanished = 0
        """Files that are not at the facility any more."""
        self._lacking = 0
        """Files that an rsync did not bring which could not bring all."""
        self._first_lacking = b""
        self._refused = rsync_results.Refused()

    def fetch(self, stop: Stop) -> EngineResult:
        self.placing.make_folders(stop)
        if self._staging.has_left:
            for folder in self._job.contents.folders():
                self._staging.make_way(folder.path)
        made = self._made(stop)
        with ThreadPoolExecutor(self._streams) as pool:
            for future in [pool.submit(self._work, made, stop) for _ in range(self._streams)]:
                future.result()
        if self._engine.transfer_options.brings_links and not (stop.requested or self._over):
            self._fetch_links(stop)
        return self._result(stop)

    @property
    def _streams(self) -> int:
        engine = self._engine
        return rsync_plan.streams(engine.remote, engine.transfer_options, self._job.listing_diff)

    @property
    def _has_earlier(self) -> bool:
        """Whether rsync may find a basis at home: to look for one costs it a fifth."""
        return self.placing.has_earlier or self._engine.compare == "checksum"

    @property
    def _patience(self) -> float:
        return rsync_plan.patience(self._engine.remote, self._job.listing_diff)

    def _made(self, stop: Stop) -> Iterator[Sequence[Entry]]:
        """What is to be fetched: the files that one rsync brings."""
        listing_diff, streams = self._job.listing_diff, self._streams
        wanted = 1 if streams == 1 else streams * _UNITS_PER_RSYNC
        cut = ChunkSize.of_whole_files(
            listing_diff.missing_bytes, listing_diff.missing_files, wanted
        )
        for bundle in work_units(self._missing(cut, stop), cut, {}):
            yield [piece.entry for piece in bundle.pieces]

    def _missing(self, cut: ChunkSize, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those that an earlier run has fetched."""
        checksums = self._engine.compare == "checksum"
        alike: list[Entry] = []
        for entry, missing in self.placing.files(cut.bytes, stop):
            if self._over:
                return
            if (missing or checksums) and len(entry.path) > fetcher.MAX_PATH_BYTES:
                self.placing.refuse(entry.path, rsync_results.path_too_long())
            elif missing:
                if self._completes(entry):
                    size, files = self._heard.get(-1, (0, 0))
                    self._heard[-1] = size + entry.size, files + 1
                else:
                    yield entry
            elif checksums:
                alike.append(entry)
            if len(alike) == _COMPARE_BATCH:
                yield from self._different(alike, stop)
                alike.clear()
        if alike:
            yield from self._different(alike, stop)

    def _completes(self, entry: Entry) -> bool:
        """Put a missing file in its place if an earlier run left all of it."""
        try:
            return self._staging.completes(entry, self._home)
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self.placing.refuse(entry.path, error)
            return True

    def _different(self, alike: Sequence[Entry], stop: Stop) -> list[Entry]:
        """Those of some files whose checksum is another one at the facility, or not told."""
        same: dict[bytes, bool] = {}
        engine, copy = self._engine, self._job.copy
        size = sum(entry.size for entry in alike)
        patience = rsync_plan.patience_for_checksums(engine.remote, size)
        paths = [entry.path for entry in alike]
        try:
            runner.compare_files(
                engine.remote, copy.source, copy.destination, paths, same.__setitem__, stop,
                patience,
            )  # fmt: skip
        except Stopped as error:
            self._note(rsync_results.stopped_result(str(error)))
            return []
        except ListingError as error:
            result = failed(error.message, error.hint, 0, 0)
            self._note(replace(result, lost=error.transient))
            return []
        return [entry for entry in alike if not same.get(entry.path)]

    def _work(self, made: Iterator[Sequence[Entry]], stop: Stop) -> None:
        """One stream: fetch some files, put them in place, until there are no more."""
        home = home_tree(self._job, self._engine.transfer_options.modes, self._engine.compare)
        with home, self._staging.opened() as staged:
            try:
                while not (stop.requested or self._over):
                    with self._lock:
                        entries = next(made, ())
                    if not entries or self._over:
                        return
                    result, entries = self._fetched(entries, staged, stop)
                    with self._lock:
                        self._note(result)
                    self._place(entries, staged, home, stop, all_came=result.ok)
            except BaseException:
                self._over = True
                raise

    def _fetched(
        self, entries: Sequence[Entry], staged: StagedTree, stop: Stop
    ) -> tuple[EngineResult, Sequence[Entry]]:
        """Have some files fetched; the result, and the files that it is about.

        rsync ends at a file that cannot be written at home: it is refused, and the others fetched.
        """
        result = self._rsync(entries, stop)
        while rsync_results.ended_at_a_file(result) and not stop.requested:
            lacking = [entry for entry in entries if staged.find(entry.path) is None]
            found = rsync_results.not_written(result, lacking, self._refused)
            if found is None:
                break
            refused, error = found
            with self._lock:
                self._note(replace(result, ok=True))
                self.placing.refuse(refused.path, error)
            entries = [entry for entry in entries if entry is not refused]
            lacking.remove(refused)
            result = self._rsync(lacking, stop) if lacking else replace(result, ok=True)
        return result, entries

    def _rsync(self, entries: Sequence[Entry], stop: Stop) -> EngineResult:
        engine, copy = self._engine, self._job.copy
        with self._lock:
            number = len(self._heard)
            self._heard[number] = 0, 0

        def hear(done: int, files: int) -> None:
            with self._lock:
                _, before = self._heard.get(number, (0, 0))
                self._heard[number] = (done, max(before, files))
                told = self._heard.values()
                totals = sum(size for size, _ in told), sum(count for _, count in told)
                self._on_progress(*totals)  # in order

        earlier = copy.destination if self._has_earlier else None
        paths = fetcher.Paths(copy.source, self._staging.tree.descriptor, earlier)
        names = (entry.path for entry in entries)
        try:
            return fetcher.fetch_files(
                engine.remote, paths, names, engine.transfer_options, stop, hear,
                self._refused.note, self._patience,
            )  # fmt: skip
        except Stopped as error:
            return rsync_results.stopped_result(str(error))

    def _note(self, result: EngineResult) -> None:
        self.bytes += result.bytes or 0
        if not result.ok:
            self._failed.append(result)
            self._over |= not rsync_results.others_may_come(result)

    def _place(
        self,
        entries: Sequence[Entry],
        staged: StagedTree,
        home: CopyTree,
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
            found = staged.find(entry.path)
            if found is None or not stat.S_ISREG(found.st_mode):
                with self._lock:
                    self._note_lacking(entry.path, vanished=all_came)
                continue
            fetched = found.st_size, found.st_mtime_ns // 1_000_000_000
            try:
                with self._lock:
                    stays = self.placing.stays(entry.path, fetched, home.find(entry.path))
                if stays:
                    log.info("%s was changed at home; left alone", escaped(entry.path))
                    staged.drop(entry.path)
                    continue
                staged.place(entry, home)
                placed = True
            except OSError as error:
                placed = isinstance(error, TimeNotHeld)
                if not placed and not is_about_one_place(error, self._scratch):
                    raise
                with self._lock:
                    self.placing.refuse(entry.path, error)
            with self._lock:
                self.files += placed

    def _note_lacking(self, path: bytes, *, vanished: bool) -> None:
        if (error := self._refused.of(path)) is not None:
            if is_about_one_place(error, self._scratch):
                self.placing.refuse(path, error)
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
                    self.placing.refuse_link, self._patience,
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
                        links.place_link(path, self._home)
                except OSError as error:
                    if not is_about_one_place(error, self._scratch):
                        raise
                    self.placing.refuse_link(path, error)

    def _result(self, stop: Stop) -> EngineResult:
        result = self._verdict(stop)
        if result.files is None and not (self.files or self.bytes):
            return result  # ended before it could tell
        return replace(result, files=self.files, bytes=self.bytes)

    def _verdict(self, stop: Stop) -> EngineResult:
        stopped = next((result for result in self._failed if result.stopped), None)
        if stop.requested or stopped:
            return stopped or rsync_results.stopped_result("stopped")
        worst = min(self._failed, key=rsync_results.rank, default=None)
        if worst is not None and not worst.vanished:
            return self._named(worst)
        placing = self.placing
        if placing.faults:
            placing.sum_up({fault.value: number for fault, number in placing.faults.items()})
            first = placing.first or placing.first_undated
            return failed(self._not_fetched(placing.first), placing.hint, 0, 0, first)
        if worst is not None:
            return worst
        if self._vanished:
            return rsync_results.vanished_result(self._vanished)
        return rsync_results.complete_result()

    def _named(self, worst: EngineResult) -> EngineResult:
        """A failure that names a file of the experiment, if it is about some files alone."""
        if not (self._lacking or self.placing.unplaced) or not rsync_results.others_may_come(worst):
            return worst
        first = f"{escaped(self._first_lacking, limit=200)}: {worst.reason}"
        faults = {fault.value: files for fault, files in self.placing.faults.items()}
        lacking = {"not fetched": self._lacking} if self._lacking else {}
        self.placing.sum_up(lacking | faults)
        return replace(worst, reason=self._not_fetched(self.placing.first or first))

    def _not_fetched(self, first: str) -> str:
        faults, undated = self.placing.faults, self.placing.first_undated
        number = self._lacking + faults.get(Fault.NOT_PLACED, 0)
        return not_fetched(number, first, faults.get(Fault.NO_TIME, 0), undated)
