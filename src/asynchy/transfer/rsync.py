"""The rsync engine: several rsyncs over SSH, each with some files, then one with the whole tree.

The last one's exit code is the verdict: it finds what is still missing, dates the folders, and is
all that an experiment gets that is small.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.errors import Stopped
from asynchy.kept_files import KeptFolder
from asynchy.plan.bundles import Bundle, Cut, bundles
from asynchy.plan.engine import Means
from asynchy.ssh import probe, rsync
from asynchy.ssh.remote import Remote
from asynchy.transfer.engine import Job, OnProgress
from asynchy.transfer.home import Home, Scratch, drop, make_folders
from asynchy.transfer.leftovers import drop_partial_files

_STREAMS = 4
"""rsyncs side by side where the config names no number: over 20 ms they carry more than twice what
one does, over 100 ms four times as much; near by they cost a fifth."""
_WORTH = 64 << 20
"""Bytes from which on more than one is worth its connections."""
_PATIENT = 10
"""Times `timeout` that an rsync may be without a word, beside what it may take for each file: it
looks at those that are at home already in silence."""
_LOOK = 0.005
"""Seconds to look at a file at home, at a slow file system."""
_CHECKSUMS = 20_000_000
"""Bytes a second that checksums are made of at least, in silence, too."""
_BUNDLES = 4
"""For each of them, so that they end together."""


@dataclass(frozen=True)
class RsyncEngine:
    """Brings an experiment home with the system's rsync."""

    remote: Remote
    means: Means = field(default_factory=Means)
    chosen: str = "it was asked for"
    name: str = "rsync"
    check: str = "transport"
    """rsync compares a checksum of each whole file that it received."""

    @property
    def compare(self) -> str:
        """What makes a file at home the same as the facility's."""
        return self.means.compare

    def require(self) -> None:
        """Look for rsync and ssh; see `Engine.require`."""
        rsync.require()
        probe.warn_of_holes()
        self.remote.ssh_command()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Run rsync, several times if that pays; see `Engine.transfer`."""
        project = job.copy.project_folder
        make_folders(job.copy)
        with Scratch(job.copy) as locked:
            scratch = locked.path / "rsync"
            drop(project, scratch)  # what an rsync that was killed left there
            os.mkdir(scratch.name, 0o700, dir_fd=locked.descriptor)
            try:
                with KeptFolder(job.copy, job.replaced) as kept:
                    kept.make()
                result = _Run(self, job, scratch, on_progress).run(stop)
            finally:
                for folder in (job.replaced, job.replaced.parent):
                    drop(project, folder, empty=True)
                drop(project, scratch)
        # Parts of the sftp engine may be in it.
        drop(project, locked.path, empty=not result.ok)
        if result.ok:
            with Home(job.copy) as home:
                drop_partial_files(home, stop)
                home.flush()
        return result


class _Run:
    """One run of the engine for one copy."""

    def __init__(
        self, engine: RsyncEngine, job: Job, scratch: Path, on_progress: OnProgress
    ) -> None:
        self._engine = engine
        self._job = job
        self._scratch = scratch
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._heard: dict[int, tuple[int, int]] = {}
        """Bytes and files, as each rsync has told them."""
        self._files = self._bytes = 0

    def run(self, stop: Stop) -> EngineResult:
        if self._streams > 1:
            self._some_each(stop)
        edited = self._scratch / "edited"
        with edited.open("wb") as file:
            file.writelines(rsync.pattern_of(path) + b"\0" for path in self._job.contents.edited())
        paths = rsync.Paths(*self._places, left_alone=edited)
        result = self._rsync(-1, paths, 1, stop)
        if result.files is None or result.bytes is None:
            return result
        return replace(result, files=self._files, bytes=self._bytes)

    @property
    def _places(self) -> tuple[str, Path, Path, Path]:
        copy = self._job.copy
        return copy.source, copy.destination, self._scratch, self._job.replaced

    @property
    def _streams(self) -> int:
        survey, engine = self._job.survey, self._engine
        if survey.missing_bytes < _WORTH or engine.compare == "checksum":
            return 1
        wanted = engine.means.streams or _STREAMS
        return min(wanted, engine.remote.connections, survey.missing_files)

    @property
    def _patience(self) -> float:
        survey, engine = self._job.survey, self._engine
        checksums = survey.bytes / _CHECKSUMS if engine.compare == "checksum" else 0
        return _PATIENT * engine.remote.timeout + _LOOK * survey.files + checksums

    def _some_each(self, stop: Stop) -> None:
        """Fetch what is missing, so many bundles at a time; what fails is left for the last run."""
        survey = self._job.survey
        cut = Cut.of_whole_files(
            survey.missing_bytes, survey.missing_files, self._streams * _BUNDLES
        )
        copy = self._job.copy
        with Home(copy) as home:
            made = bundles(self._missing(home, cut), cut, {})
            with ThreadPoolExecutor(self._streams) as pool:
                for future in [pool.submit(self._work, made, stop) for _ in range(self._streams)]:
                    future.result()

    def _missing(self, home: Home, cut: Cut) -> Iterator[Entry]:
        size_only = self._engine.compare == "size"
        for entry in self._job.contents.files(cut.bytes):
            if not entry.is_same(home.find(entry.path), size_only=size_only):
                yield entry

    def _work(self, made: Iterator[Bundle], stop: Stop) -> None:
        while not stop.asked:
            with self._lock:
                bundle = next(made, None)
            if bundle is None:
                return
            names = self._scratch / f"names-{bundle.number}"
            names.write_bytes(b"".join(piece.entry.path + b"\0" for piece in bundle.pieces))
            paths = rsync.Paths(*self._places, only=names)
            result = self._rsync(bundle.number, paths, self._streams, stop)
            names.unlink()
            if not result.ok and not result.vanished:
                return

    def _rsync(self, number: int, paths: rsync.Paths, beside: int, stop: Stop) -> EngineResult:
        """Run one rsync; `beside`: how many share the bandwidth."""
        means = self._engine.means
        if means.bandwidth:
            means = replace(means, bandwidth=means.bandwidth // beside)

        def hear(done: int, files: int) -> None:
            with self._lock:
                _, before = self._heard.get(number, (0, 0))
                self._heard[number] = (done, max(before, files))
                told = self._heard.values()
                totals = sum(size for size, _ in told), sum(count for _, count in told)
                self._on_progress(*totals)  # in order

        try:
            result = rsync.transfer_tree(
                self._engine.remote, paths, means, stop, hear, self._patience
            )
        except Stopped as error:
            return EngineResult(
                ok=False, exit_code=-1, files=0, bytes=0, reason=str(error), hint=None,
                stderr="", stopped=True,
            )  # fmt: skip
        with self._lock:
            self._files += result.files or 0
            self._bytes += result.bytes or 0
        return result
