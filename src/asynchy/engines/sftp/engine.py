"""The sftp engine: several streams over SFTP; ranges of big files, small ones by the hundred."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.chunks import Chunk, ChunkSize, Extent, WorkUnit, work_units
from asynchy.engines.faults import Fault, not_fetched
from asynchy.engines.placing import Placement, failed, home_tree
from asynchy.engines.sftp import partial_files
from asynchy.engines.sftp.coordinator import Coordinator
from asynchy.engines.sftp.cpu_usage import cores, idle_seconds
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import Task
from asynchy.engines.sftp.partial_files import Part
from asynchy.engines.sftp.stream_tuner import Tuner, worth
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.localfs.copy_tree import CopyTree, Scratch, drop, error_reason, make_folders
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
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

    crew: WorkerPool
    """Whose processes move the files."""
    compare: str = "time"
    modes: Modes = GROUP_SHARED
    streams: int | None = None
    """How many connections; None: as many as pay."""
    round_trip: float | None = None
    """Seconds to the server and back, where the listing has found that out."""
    chosen: str = "it was asked for"
    name: str = "sftp"
    check: str = "size"
    """SFTP has no checksum of its own: that all bytes came is seen from their number (and SSH
    itself protects each packet)."""

    @property
    def remote(self) -> Server:
        """The server that the files come from."""
        return self.crew.remote

    def require(self) -> None:
        """Look for ssh; see `Engine.require`."""
        require_ssh()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(Scratch(copy))
            home = stack.enter_context(home_tree(job, self.modes, self.compare))
            run = _SftpTransfer(self, job, home, scratch)
            stack.callback(run.parts.close)
            ended = FetchStats()
            try:
                ended = run.fetch(stop, on_progress)
                result = _result(ended, stop)
                if result.ok:
                    run.placing.finish(stop)
            except OSError as error:
                result = _failed(*error_reason(error), ended)
        # What is there of files that are not whole yet lies in it.
        drop(copy.project_folder, scratch.path, empty=not result.ok)
        return result


class _SftpTransfer:
    """One run of the engine for one copy."""

    def __init__(self, engine: SftpEngine, job: Job, home: CopyTree, scratch: Scratch) -> None:
        self._engine = engine
        self._job = job
        self._scratch = scratch
        self.placing = Placement(job, home, engine.compare, scratch)
        self.parts = _Parts(scratch.descriptor, home, self.placing)

    def fetch(self, stop: Stop, on_progress: OnProgress) -> FetchStats:
        self.placing.make_folders(stop)
        if stop.requested:
            return FetchStats()
        listing_diff = self._job.listing_diff
        cut = ChunkSize.of(listing_diff.missing_bytes, listing_diff.missing_files)
        made = work_units(self._missing(cut, stop), cut, self.parts.begun)
        engine = self._engine
        resumed = sum(length for extents in self.parts.begun.values() for _, length in extents)
        on_progress(resumed, 0)
        streams = Coordinator(
            engine.crew,
            self._task(),
            self.parts.prepared(made),
            Tuner(
                self._most(cut),
                cores(),
                idle_seconds,
                engine.streams,
                engine.round_trip,
                listing_diff.missing_bytes / max(1, listing_diff.missing_files),
            ),
            self.parts.durable,
            lambda moved, files: on_progress(resumed + moved, files),
        )
        ended = streams.run(stop)
        placing = self.placing
        if not ended.first:
            ended.first, ended.hint = placing.first, placing.hint
        ended.first_undated = ended.first_undated or placing.first_undated
        for fault, number in placing.faults.items():
            ended.faults[fault] += number
        self.placing.sum_up({fault.value: number for fault, number in ended.faults.items()})
        return ended

    def _most(self, cut: ChunkSize) -> int:
        """How many streams this transfer can use."""
        listing_diff = self._job.listing_diff
        size, files = listing_diff.missing_bytes, listing_diff.missing_files
        most = min(self._engine.remote.connections, cut.bundles(size, files))
        return most if self._engine.streams else min(most, worth(size, files))

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

    def _missing(self, cut: ChunkSize, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those of which all has been fetched."""
        for entry, missing in self.placing.files(cut.largest_whole, stop):
            if missing and not self.parts.completes(entry):
                yield entry
        if not stop.requested:
            self.parts.drop_useless()


class _Parts:
    """The files that are fetched in ranges: begun, noted, and put in their places."""

    def __init__(self, scratch: int, home: CopyTree, placing: Placement) -> None:
        self._scratch = scratch
        self._home = home
        self._placing = placing
        self._parts = {part.path: part for part in partial_files.find(scratch)}
        self.begun: dict[bytes, Sequence[Extent]] = {
            path: tuple(part.there) for path, part in self._parts.items()
        }
        """What was there of each file when this run began."""
        self._useless = set(self._parts)

    def completes(self, entry: Entry) -> bool:
        """See what there is of a file that is missing; if it is all of it, put it in its place."""
        part = self._parts.get(entry.path)
        if part is None:
            return False
        self._useless.discard(entry.path)
        if not part.is_of(entry):
            log.info("%s has changed at the facility; starting over", escaped(entry.path))
            self._drop(part)
            return False
        log.info("%s goes on where it was", escaped(entry.path))
        if part.is_whole:
            self._finish(part, entry)
            return True
        return False

    def prepared(self, made: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """The bundles, each once there is a part for every range in it."""
        for bundle in made:
            for piece in bundle.pieces:
                if not piece.whole and piece.entry.path not in self._parts:
                    part = partial_files.begin(self._scratch, piece.entry)
                    self._parts[piece.entry.path] = part
            yield bundle

    def durable(self, piece: Chunk, extents: Sequence[Extent]) -> bool:
        """Note what is durable of a file; once that is all of it, put it in its place.

        Whether it was. Files that come at one go are put there by their stream.
        """
        if piece.whole:
            return False
        part = self._parts[piece.entry.path]
        part.note(extents)
        if not part.is_whole:
            return False
        return self._finish(part, piece.entry)

    def drop_useless(self) -> None:
        """Remove the parts of files that are not missing, or not there, any more."""
        for path in self._useless:
            self._drop(self._parts[path])

    def close(self) -> None:
        """Let go of the journals."""
        for part in self._parts.values():
            part.close()

    def _drop(self, part: Part) -> None:
        part.drop()
        del self._parts[part.path]
        self.begun.pop(part.path, None)

    def _finish(self, part: Part, entry: Entry) -> bool:
        """Put a file in its place; if it has none, what was fetched stays for the next run."""
        try:
            self._home.place(self._scratch, part.name, entry)
        except TimeNotHeld as error:
            self._placing.refuse(entry.path, error)
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self._placing.refuse(entry.path, error)
            return False
        self._drop(part)
        return True


def _result(ended: FetchStats, stop: Stop) -> EngineResult:
    if stop.requested:
        return replace(_failed("stopped", None, ended), stopped=True)
    if ended.broken is not None:
        return _failed(ended.broken.reason, ended.broken.hint, ended)
    if ended.lost is not None:
        failed = _failed(ended.lost.reason, ended.lost.hint, ended)
        return replace(failed, lost=not ended.lost.distrust)
    if not ended.faults:
        return EngineResult(
            ok=True,
            exit_code=0,
            files=ended.files,
            bytes=ended.bytes,
            reason=None,
            hint=None,
            stderr="",
        )
    worst = max(ended.faults, key=list(Fault).index)
    if worst is Fault.CHANGED:
        return replace(_failed(worst.value, None, ended), vanished=True)
    hint = "ask the facility to open it to the user" if worst is Fault.REFUSED else ended.hint
    undated = ended.faults.get(Fault.NO_TIME, 0)
    number = sum(ended.faults.values()) - undated
    return _failed(not_fetched(number, ended.first, undated, ended.first_undated), hint, ended)


def _failed(reason: str, hint: str | None, ended: FetchStats) -> EngineResult:
    return failed(reason, hint, ended.files, ended.bytes, ended.first or ended.first_undated)
