"""The sftp engine: several streams over SFTP; ranges of big files, small ones by the hundred."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.plan.bundles import Bundle, Cut, Extent, Piece, bundles
from asynchy.ssh.remote import Remote
from asynchy.transfer import journal
from asynchy.transfer.crew import Crew
from asynchy.transfer.engine import Job, OnProgress
from asynchy.transfer.home import Home, Scratch, drop, make_folders, why
from asynchy.transfer.journal import Part
from asynchy.transfer.messages import Fault, Task
from asynchy.transfer.placing import Placing, failed, not_fetched
from asynchy.transfer.processors import cores, idle_seconds
from asynchy.transfer.streams import Ended, Streams
from asynchy.transfer.tuning import Tuner, worth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SftpEngine:
    """Brings an experiment home over SFTP, with as many connections as pay."""

    crew: Crew
    """Whose processes move the files."""
    compare: str = "time"
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
    def remote(self) -> Remote:
        """The server that the files come from."""
        return self.crew.remote

    def require(self) -> None:
        """Look for ssh; see `Engine.require`."""
        self.remote.ssh_command()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(Scratch(copy))
            home = stack.enter_context(Home(copy, job.replaced))
            run = _Run(self, job, home, scratch)
            stack.callback(run.parts.close)
            try:
                ended = run.fetch(stop, on_progress)
                result = _result(ended, stop)
                if result.ok:
                    run.placing.finish(stop)
            except OSError as error:
                result = _failed(*why(error), Ended())
        # What is there of files that are not whole yet lies in it.
        drop(copy.project_folder, scratch.path, empty=not result.ok)
        return result


class _Run:
    """One run of the engine for one copy."""

    def __init__(self, engine: SftpEngine, job: Job, home: Home, scratch: Scratch) -> None:
        self._engine = engine
        self._job = job
        self._scratch = scratch
        self.placing = Placing(job, home, engine.compare)
        self.parts = _Parts(scratch.descriptor, home)

    def fetch(self, stop: Stop, on_progress: OnProgress) -> Ended:
        self.placing.make_folders(stop)
        if stop.asked:
            return Ended()
        survey = self._job.survey
        cut = Cut.of(survey.missing_bytes, survey.missing_files)
        made = bundles(self._missing(cut, stop), cut, self.parts.begun)
        engine = self._engine
        resumed = sum(length for extents in self.parts.begun.values() for _, length in extents)
        on_progress(resumed, 0)
        streams = Streams(
            engine.crew,
            self._task(),
            self.parts.prepared(made),
            Tuner(
                self._most(cut),
                cores(),
                idle_seconds,
                engine.streams,
                engine.round_trip,
                survey.missing_bytes / max(1, survey.missing_files),
            ),
            self.parts.durable,
            lambda moved, files: on_progress(resumed + moved, files),
        )
        ended = streams.run(stop)
        if self.placing.first:
            ended.first = ended.first or self.placing.first
            ended.faults[Fault.NOT_PLACED] += self.placing.unplaced
        return ended

    def _most(self, cut: Cut) -> int:
        """How many streams this transfer can use."""
        survey = self._job.survey
        size, files = survey.missing_bytes, survey.missing_files
        most = min(self._engine.remote.connections, cut.bundles(size, files))
        return most if self._engine.streams else min(most, worth(size, files))

    def _task(self) -> Task:
        copy = self._job.copy
        return Task(copy=copy, scratch=self._scratch.path, replaced=self._job.replaced, number=0)

    def _missing(self, cut: Cut, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those of which all has been fetched."""
        for entry, missing in self.placing.files(cut.largest_whole, stop):
            if missing and not self.parts.completes(entry):
                yield entry
        if not stop.asked:
            self.parts.drop_useless()


class _Parts:
    """The files that are fetched in ranges: begun, noted, and put in their places."""

    def __init__(self, scratch: int, home: Home) -> None:
        self._scratch = scratch
        self._home = home
        self._parts = {part.path: part for part in journal.find(scratch)}
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
            log.info("%s has changed at the facility; begun anew", shown(entry.path))
            self._drop(part)
            return False
        log.info("%s goes on where it was", shown(entry.path))
        if part.is_whole:
            self._finish(part, entry)
            return True
        return False

    def prepared(self, made: Iterable[Bundle]) -> Iterator[Bundle]:
        """The bundles, each once there is a part for every range in it."""
        for bundle in made:
            for piece in bundle.pieces:
                if not piece.whole and piece.entry.path not in self._parts:
                    part = journal.begin(self._scratch, piece.entry)
                    self._parts[piece.entry.path] = part
            yield bundle

    def durable(self, piece: Piece, extents: Sequence[Extent]) -> bool:
        """Note what is durable of a file; once that is all of it, put it in its place.

        Whether it was. Files that come at one go are put there by their stream.
        """
        if piece.whole:
            return False
        part = self._parts[piece.entry.path]
        part.note(extents)
        if not part.is_whole:
            return False
        self._finish(part, piece.entry)
        return True

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

    def _finish(self, part: Part, entry: Entry) -> None:
        descriptor = os.open(
            part.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._scratch
        )
        try:
            os.fchmod(descriptor, entry.mode_at_home)
            os.utime(descriptor, (entry.modified, entry.modified))
        finally:
            os.close(descriptor)
        self._home.place(self._scratch, part.name, entry.path)
        self._drop(part)


def _result(ended: Ended, stop: Stop) -> EngineResult:
    if stop.asked:
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
    hint = "ask the facility to open it to the user" if worst is Fault.REFUSED else None
    return _failed(not_fetched(sum(ended.faults.values()), ended.first), hint, ended)


def _failed(reason: str, hint: str | None, ended: Ended) -> EngineResult:
    return failed(reason, hint, ended.files, ended.bytes, ended.first)
