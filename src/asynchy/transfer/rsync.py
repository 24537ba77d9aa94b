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

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.domain.text import count, shown
from asynchy.errors import ListingError, Stopped
from asynchy.plan.bundles import Cut, bundles
from asynchy.plan.engine import Means
from asynchy.ssh import probe, rsync, rsync_fetch
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import EXIT_CODES, VANISHED, is_absent
from asynchy.transfer.engine import Job, OnProgress
from asynchy.transfer.home import Home, Scratch, drop, make_folders, why
from asynchy.transfer.placing import Placing, failed, not_fetched
from asynchy.transfer.staging import StagedTree, Staging
from asynchy.tree import is_about_one_file

log = logging.getLogger(__name__)

_STREAMS = 4
"""rsyncs side by side where the config names no number: over 20 ms they carry more than twice what
one does, over 100 ms four times as much; near by they cost a fifth."""
_WORTH = 64 << 20
"""Bytes from which on more than one is worth its connections."""
_PATIENT = 10
"""Times `timeout` that an rsync may be without a word, beside what it may take for each file: it
looks at the earlier version of each in silence."""
_LOOK = 0.005
"""Seconds to look at a file at home, at a slow file system."""
_CHECKSUMS = 20_000_000
"""Bytes a second that checksums are made of at least, in silence, too."""
_BUNDLES = 4
"""For each of them, so that they end together."""
_COMPARED = 2000
"""Files whose checksums are compared by one rsync."""


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
        """Fetch what is missing, and put it in place; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(Scratch(copy))
            home = stack.enter_context(Home(copy, job.replaced))
            try:
                staging = stack.enter_context(Staging(scratch))
                run = _Run(self, job, home, staging, on_progress)
                result = run.fetch(stop)
                if result.ok:
                    run.placing.finish(stop)
                    staging.drop()
            except OSError as error:
                result = failed(*why(error), 0, 0)
        # What the next run can use is in it, also parts of the sftp engine.
        drop(copy.project_folder, scratch.path, empty=not result.ok)
        return result


class _Run:
    """One run of the engine for one copy."""

    def __init__(
        self, engine: RsyncEngine, job: Job, home: Home, staging: Staging, on_progress: OnProgress
    ) -> None:
        self._engine = engine
        self._job = job
        self._home = home
        self._staging = staging
        self._on_progress = on_progress
        self.placing = Placing(job, home, engine.compare)
        self._lock = threading.Lock()
        """For what the streams share: all that follows, `placing`, and what is still to fetch."""
        self._heard: dict[int, tuple[int, int]] = {}
        """Bytes and files, as each rsync has told them; -1: what was there already."""
        self._files = self._bytes = 0
        self._failed: list[EngineResult] = []
        self._over = False
        """Whether nothing more can be fetched."""
        self._vanished = 0
        """Files that are not at the facility any more."""
        self._lacking = 0
        """Files that an rsync did not bring which could not bring all."""
        self._first_lacking = b""

    def fetch(self, stop: Stop) -> EngineResult:
        self.placing.make_folders(stop)
        if self._staging.has_left:
            for folder in self._job.contents.folders():
                self._staging.make_way(folder.path)
        made = self._made(stop)
        with ThreadPoolExecutor(self._streams) as pool:
            for future in [pool.submit(self._work, made, stop) for _ in range(self._streams)]:
                future.result()
        means = self._engine.means
        if (means.symlinks or means.special_files) and not (stop.asked or self._over):
            self._fetch_links(stop)
        return self._result(stop)

    @property
    def _streams(self) -> int:
        survey, engine = self._job.survey, self._engine
        if survey.missing_bytes < _WORTH or engine.compare == "checksum":
            return 1
        wanted = engine.means.streams or _STREAMS
        return min(wanted, engine.remote.connections, survey.missing_files)

    @property
    def _has_earlier(self) -> bool:
        """Whether rsync may find a basis at home: to look for one costs it a fifth."""
        return self.placing.has_earlier or self._engine.compare == "checksum"

    @property
    def _patience(self) -> float:
        return _PATIENT * self._engine.remote.timeout + _LOOK * self._job.survey.files

    def _made(self, stop: Stop) -> Iterator[tuple[int, Sequence[Entry]]]:
        """What is to be fetched: the files that one rsync brings, with a number."""
        survey, streams = self._job.survey, self._streams
        wanted = 1 if streams == 1 else streams * _BUNDLES
        cut = Cut.of_whole_files(survey.missing_bytes, survey.missing_files, wanted)
        for bundle in bundles(self._missing(cut, stop), cut, {}):
            yield bundle.number, [piece.entry for piece in bundle.pieces]

    def _missing(self, cut: Cut, stop: Stop) -> Iterator[Entry]:
        """The files that are not at home, without those that an earlier run has fetched."""
        checksums = self._engine.compare == "checksum"
        alike: list[Entry] = []
        for entry, missing in self.placing.files(cut.bytes, stop):
            if self._over:
                return
            if missing:
                if self._staging.completes(entry, self._home):
                    size, files = self._heard.get(-1, (0, 0))
                    self._heard[-1] = size + entry.size, files + 1
                else:
                    yield entry
            elif checksums:
                alike.append(entry)
            if len(alike) == _COMPARED:
                yield from self._different(alike, stop)
                alike.clear()
        if alike:
            yield from self._different(alike, stop)

    def _different(self, alike: Sequence[Entry], stop: Stop) -> list[Entry]:
        """Those of some files whose checksum is another one at the facility, or not told."""
        same: dict[bytes, bool] = {}
        engine, copy = self._engine, self._job.copy
        patience = engine.remote.timeout + sum(entry.size for entry in alike) / _CHECKSUMS
        paths = [entry.path for entry in alike]
        try:
            rsync.compare_files(
                engine.remote, copy.source, copy.destination, paths, same.__setitem__, stop,
                patience,
            )  # fmt: skip
        except Stopped as error:
            self._note(_stopped(str(error)))
            return []
        except ListingError as error:
            result = failed(error.message, error.hint, 0, 0)
            self._note(replace(result, lost=error.transient))
            return []
        return [entry for entry in alike if not same.get(entry.path)]

    def _work(self, made: Iterator[tuple[int, Sequence[Entry]]], stop: Stop) -> None:
        """One stream: fetch some files, put them in place, until there are no more."""
        home = Home(self._job.copy, self._job.replaced)
        with home, self._staging.opened() as staged:
            try:
                while not (stop.asked or self._over):
                    with self._lock:
                        number, entries = next(made, (0, ()))
                    if not entries or self._over:
                        return
                    result = self._rsync(number, entries, stop)
                    with self._lock:
                        self._note(result)
                    self._place(entries, staged, home, stop, all_came=result.ok)
            except BaseException:
                self._over = True
                raise

    def _rsync(self, number: int, entries: Sequence[Entry], stop: Stop) -> EngineResult:
        engine, copy = self._engine, self._job.copy
        means = engine.means
        if means.bandwidth:
            means = replace(means, bandwidth=means.bandwidth // self._streams)

        def hear(done: int, files: int) -> None:
            with self._lock:
                _, before = self._heard.get(number, (0, 0))
                self._heard[number] = (done, max(before, files))
                told = self._heard.values()
                totals = sum(size for size, _ in told), sum(count for _, count in told)
                self._on_progress(*totals)  # in order

        earlier = copy.destination if self._has_earlier else None
        paths = rsync_fetch.Paths(copy.source, self._staging.tree.descriptor, earlier)
        names = (entry.path for entry in entries)
        try:
            return rsync_fetch.fetch_files(
                engine.remote, paths, names, means, stop, hear, self._patience
            )
        except Stopped as error:
            return _stopped(str(error))

    def _note(self, result: EngineResult) -> None:
        self._files += result.files or 0
        self._bytes += result.bytes or 0
        if not result.ok:
            self._failed.append(result)
            self._over |= not _others_may_come(result)

    def _place(
        self,
        entries: Sequence[Entry],
        staged: StagedTree,
        home: Home,
        stop: Stop,
        *,
        all_came: bool,
    ) -> None:
        """Put in place what has come of some files; `all_came`: the others have vanished."""
        if not stop.asked:
            self._staging.flush()
        for entry in entries:
            if stop.asked:
                return  # the next run does it
            found = staged.find(entry.path)
            if found is None or not stat.S_ISREG(found.st_mode):
                with self._lock:
                    self._vanished += all_came
                    self._lacking += not all_came
                    self._first_lacking = self._first_lacking or entry.path
                continue
            fetched = found.st_size, found.st_mtime_ns // 1_000_000_000
            with self._lock:
                stays = self.placing.stays(entry.path, fetched, home.find(entry.path))
            try:
                if stays:
                    log.info("%s was changed at home; left alone", shown(entry.path))
                    staged.drop(entry.path)
                else:
                    staged.place(entry.path, home)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                with self._lock:
                    self.placing.refuse(entry.path, error)

    def _fetch_links(self, stop: Stop) -> None:
        """Bring links and special files; a file or folder that is in the place of one stays."""
        engine, copy = self._engine, self._job.copy
        with self._staging.for_links() as links:
            try:
                result = rsync_fetch.fetch_links(
                    engine.remote, copy.source, links.descriptor, engine.means, stop,
                    self._patience,
                )  # fmt: skip
            except Stopped as error:
                result = _stopped(str(error))
            self._note(replace(result, files=0, bytes=0))
            if not result.ok and not result.vanished:
                return
            stay = [path for path in links.links() if not links.place_link(path, self._home)]
        if stay:
            log.warning(
                "%s: %s the place of links or special files of the facility, and stay; "
                "the first of them: %s", copy.epn,
                count(len(stay), "thing at home is in", "things at home are in"),
                shown(min(stay), limit=200),
            )  # fmt: skip

    def _result(self, stop: Stop) -> EngineResult:
        result = self._verdict(stop)
        if result.files is None and not (self._files or self._bytes):
            return result  # ended before it could tell
        return replace(result, files=self._files, bytes=self._bytes)

    def _verdict(self, stop: Stop) -> EngineResult:
        stopped = next((result for result in self._failed if result.stopped), None)
        if stop.asked or stopped:
            return stopped or _stopped("stopped")
        worst = min(self._failed, key=_rank, default=None)
        if worst is not None and not worst.vanished:
            return self._named(worst)
        if self.placing.first:
            reason = not_fetched(self.placing.unplaced, self.placing.first)
            return failed(reason, None, 0, 0, self.placing.first)
        if worst is not None:
            return worst
        if self._vanished:
            words = f"{count(self._vanished, 'file')} vanished at the facility"
            vanished = failed(EXIT_CODES[VANISHED], None, 0, 0, words)
            return replace(vanished, exit_code=VANISHED, vanished=True)
        return EngineResult(
            ok=True, exit_code=0, files=0, bytes=0, reason=None, hint=None, stderr=""
        )

    def _named(self, worst: EngineResult) -> EngineResult:
        """A failure that names a file of the experiment, if it is about some files alone."""
        if not self._lacking or not _others_may_come(worst):
            return worst
        first = f"{shown(self._first_lacking, limit=200)}: {worst.reason}"
        return replace(worst, reason=not_fetched(self._lacking, first))


def _others_may_come(result: EngineResult) -> bool:
    """Whether other files can be fetched although some could not."""
    if result.vanished:
        return True
    return result.exit_code == rsync.PARTLY and not is_absent(result.stderr)


def _rank(result: EngineResult) -> int:
    """How little a failure says of the whole run."""
    return result.vanished + _others_may_come(result)


def _stopped(reason: str) -> EngineResult:
    return replace(failed(reason, None, 0, 0), exit_code=-1, stopped=True)
