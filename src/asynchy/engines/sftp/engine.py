"""The sftp engine: several streams over SFTP; ranges of big files, small ones by the hundred."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.chunks import Chunk, ChunkSize, Extent, WorkUnit, work_units
from asynchy.engines.faults import Fault, not_fetched
from asynchy.engines.placement import Placement, failed, home_tree
from asynchy.engines.sftp import partial_files
from asynchy.engines.sftp.coordinator import Coordinator
from asynchy.engines.sftp.cpu_usage import cores, idle_seconds
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import Task
from asynchy.engines.sftp.partial_files import Part
from asynchy.engines.sftp.stream_tuner import Tuner, useful_streams
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.localfs.copy_tree import CopyTree, error_reason, make_folders
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry
from asynchy.model.file_modes import GROUP_SHARED, Modes
from asynchy.model.file_times import tolerated
from asynchy.model.formatting import escaped
from asynchy.ssh.server import Server, require_ssh

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SftpEngine:
    """Brings an experiment home over SFTP, with as many connections as pay."""

    worker_pool: WorkerPool
    """Its processes move the files."""
    compare: str = "time"
    modes: Modes = GROUP_SHARED
    streams: int | None = None
    """How many connections; None: as many as pay."""
    round_trip: float | None = None
    """Seconds to the server and back, if the listing has measured it."""
    chosen: str = "it was asked for"
    name: str = "sftp"
    check: str = "size"
    """SFTP has no checksum of its own: that all bytes came is seen from their number (and SSH
    itself protects each packet)."""

    @property
    def remote(self) -> Server:
        """The server that the files come from."""
        return self.worker_pool.remote

    def require(self) -> None:
        """Look for ssh; see `Engine.require`."""
        require_ssh()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(Scratch(copy, job.lease))
            copy_tree = stack.enter_context(home_tree(job, self.modes, self.compare))
            run = _SftpTransfer(self, job, copy_tree, scratch)
            stack.callback(run.parts.close)
            stats = FetchStats()
            try:
                stats = run.fetch(stop, on_progress)
                result = _result(stats, stop)
                if result.ok:
                    run.placement.finish(stop)
            except OSError as error:
                result = _failed(*error_reason(error), stats)
        # It has the data of files that are not complete yet.
        scratch.drop(empty=not result.ok)
        return result


class _SftpTransfer:
    """One run of the engine for one copy."""

    def __init__(self, engine: SftpEngine, job: Job, copy_tree: CopyTree, scratch: Scratch) -> None:
        self._engine = engine
        self._job = job
        self._scratch = scratch
        self.placement = Placement(job, copy_tree, engine.compare, scratch)
        self.parts = _Parts(scratch.descriptor, copy_tree, self.placement)

    def fetch(self, stop: Stop, on_progress: OnProgress) -> FetchStats:
        self.placement.make_folders(stop)
        if stop.requested:
            return FetchStats()
        listing_diff = self._job.listing_diff
        chunk_size = ChunkSize.of(listing_diff.missing_bytes, listing_diff.missing_files)
        units = work_units(self._missing(chunk_size, stop), chunk_size, self.parts.existing)
        engine = self._engine
        resumed = sum(length for extents in self.parts.existing.values() for _, length in extents)
        on_progress(resumed, 0)
        streams = Coordinator(
            engine.worker_pool,
            self._task(),
            self.parts.prepared(units),
            Tuner(
                self._max_streams(chunk_size),
                cores(),
                idle_seconds,
                engine.streams,
                engine.round_trip,
                listing_diff.missing_bytes / max(1, listing_diff.missing_files),
            ),
            self.parts.durable,
            lambda moved, files: on_progress(resumed + moved, files),
        )
        stats = streams.run(stop)
        placement = self.placement
        if not stats.first_fault:
            stats.first_fault, stats.hint = placement.first_fault, placement.hint
        stats.first_undated = stats.first_undated or placement.first_undated
        for fault, number in placement.faults.items():
            stats.faults[fault] += number
        self.placement.sum_up({fault.value: number for fault, number in stats.faults.items()})
        return stats

    def _max_streams(self, chunk_size: ChunkSize) -> int:
        """How many streams this transfer can use."""
        listing_diff = self._job.listing_diff
        size, files = listing_diff.missing_bytes, listing_diff.missing_files
        max_streams = min(self._engine.remote.connections, chunk_size.units(size, files))
        return (
            max_streams if self._engine.streams else min(max_streams, useful_streams(size, files))
        )

    def _task(self) -> Task:
        copy = self._job.copy
        return Task(
            copy=copy,
            scratch=self._scratch.path,
            replaced=self._job.replaced,
            number=0,
            modes=self._engine.modes,
            size_only=self._engine.compare == "size",
            time_tolerance=tolerated(),
        )

    def _missing(self, chunk_size: ChunkSize, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those of which all has been fetched."""
        for entry, missing in self.placement.files(chunk_size.largest_whole, stop):
            if missing and not self.parts.completes(entry):
                yield entry
        if not stop.requested:
            self.parts.drop_obsolete()


class _Parts:
    """The files that are fetched in ranges: begun, noted, and put in their places."""

    def __init__(self, scratch: int, copy_tree: CopyTree, placement: Placement) -> None:
        self._scratch = scratch
        self._copy_tree = copy_tree
        self._placement = placement
        self._parts = {part.path: part for part in partial_files.find(scratch)}
        self.existing: dict[bytes, Sequence[Extent]] = {
            path: tuple(part.extents) for path, part in self._parts.items()
        }
        """The extents of each file that existed when this run began."""
        self._obsolete = set(self._parts)

    def completes(self, entry: Entry) -> bool:
        """See what there is of a file that is missing; if it is all of it, put it in its place."""
        part = self._parts.get(entry.path)
        if part is None:
            return False
        self._obsolete.discard(entry.path)
        if not part.is_of(entry):
            log.info("%s has changed at the facility; starting over", escaped(entry.path))
            self._drop(part)
            return False
        log.info("%s goes on where it was", escaped(entry.path))
        if part.is_whole:
            self._finish(part, entry)
            return True
        return False

    def prepared(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """The work units, each once there is a partial file for every range in it."""
        for unit in units:
            for chunk in unit.chunks:
                if not chunk.whole and chunk.entry.path not in self._parts:
                    part = partial_files.begin(self._scratch, chunk.entry)
                    self._parts[chunk.entry.path] = part
            yield unit

    def durable(self, chunk: Chunk, extents: Sequence[Extent]) -> bool:
        """Note what is durable of a file; once that is all of it, put it in its place.

        Whether it was. Files that come at one go are put there by their stream.
        """
        if chunk.whole:
            return False
        part = self._parts[chunk.entry.path]
        part.note(extents)
        if not part.is_whole:
            return False
        return self._finish(part, chunk.entry)

    def drop_obsolete(self) -> None:
        """Remove the parts of files that are not missing, or not there, any more."""
        for path in self._obsolete:
            self._drop(self._parts[path])

    def close(self) -> None:
        """Let go of the journals."""
        for part in self._parts.values():
            part.close()

    def _drop(self, part: Part) -> None:
        part.drop()
        del self._parts[part.path]
        self.existing.pop(part.path, None)

    def _finish(self, part: Part, entry: Entry) -> bool:
        """Put a file in its place; if that fails, its data stay for the next run."""
        try:
            self._copy_tree.place(self._scratch, part.name, entry)
        except TimeNotHeld as error:
            self._placement.refuse(entry.path, error)
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self._placement.refuse(entry.path, error)
            return False
        self._drop(part)
        return True


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
    worst_fault = max(stats.faults, key=list(Fault).index)
    if worst_fault is Fault.CHANGED:
        return replace(_failed(worst_fault.value, None, stats), vanished=True)
    hint = "ask the facility to open it to the user" if worst_fault is Fault.REFUSED else stats.hint
    undated = stats.faults.get(Fault.NO_TIME, 0)
    number = sum(stats.faults.values()) - undated
    return _failed(
        not_fetched(number, stats.first_fault, undated, stats.first_undated), hint, stats
    )


def _failed(reason: str, hint: str | None, stats: FetchStats) -> EngineResult:
    return failed(reason, hint, stats.files, stats.bytes, stats.first_fault or stats.first_undated)
