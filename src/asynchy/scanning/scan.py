"""Lists every visible experiment into the catalogue: as-walker.

It resumes where it was stopped: the entries of a folder, and that it is done, are stored together
(`catalogue/scans.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.catalogue.scan_results import Changes, NotFound, ScanProblem
from asynchy.catalogue.scans import ScanWriter
from asynchy.errors import (
    ExitCode,
    ExperimentAbsent,
    HostKeyRefused,
    ListingError,
    ListingRefused,
    SftpNotOffered,
)
from asynchy.facility.discovery import DiscoveredExperiments, discover
from asynchy.facility.folder_queue import Folder, FolderError
from asynchy.facility.lister import list_experiment
from asynchy.facility.old_places import check_old_places
from asynchy.facility.sftp_lister import crawl
from asynchy.model.epn import Epn
from asynchy.model.experiment import Entry, EntryKind, Experiment, LocatedExperiment
from asynchy.model.formatting import count
from asynchy.model.relocation import recognised
from asynchy.runtime.context import RunContext
from asynchy.runtime.instance_lock import instance_lock
from asynchy.scanning.progress import ScanProgress
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

CONNECTIONS = 4
"""Made one a second; sshd drops some of more than ten that come at once (MaxStartups)."""
MAX_RETRIES = 5
"""How often the connection may be lost with nothing listed in between."""
_BATCH_ENTRIES = 5_000
_LOST = "the walk lost the connection to the facility"


@dataclass(frozen=True)
class WantedEpns:
    """The EPNs that a walk is for."""

    epns: frozenset[Epn]
    origin: str
    """Where they come from, as text for people."""


@dataclass(frozen=True)
class ScannedExperiment:
    """An experiment that a walk has listed."""

    located: LocatedExperiment
    new: bool
    """Whether it had never been walked."""
    changes: Changes


@dataclass(frozen=True)
class ScanResult:
    """The result of a scan."""

    origin: str
    seen: tuple[ScannedExperiment, ...]
    """The experiments that this run has listed."""
    before: int
    """Experiments that had been listed before it was stopped."""
    gone: tuple[NotFound, ...]
    absent: tuple[Epn, ...]
    """The wanted EPNs that were not found."""
    everywhere: bool
    """Whether every folder that may hold experiments could be listed; otherwise what was not found
    may be there all the same."""
    left: dict[EntryKind, int]
    """Dot files, symbolic links and special files."""
    bad: int
    """Folders that could not be listed."""
    problems: tuple[ScanProblem, ...]
    """The first ten of them."""
    seconds: float
    empty: str | None = None
    """That no experiment is visible, and what is there instead; None: there are some."""

    @property
    def exit_code(self) -> ExitCode:
        """Whether all that is visible was listed, and anything is."""
        return ExitCode.INCOMPLETE if self.bad or self.empty else ExitCode.OK


def scan(
    context: RunContext, root: str, wanted: WantedEpns | None, progress: ScanProgress
) -> ScanResult:
    """List the experiments below a folder at the facility into the catalogue.

    Raises:
        AlreadyRunning: another walk works on the catalogue.
        CatalogueError: the catalogue cannot be used.
        ListingError: the facility cannot be reached, or the connection was lost again and again;
            the next walk goes on from there.
        Stopped: a stop was requested meanwhile; the next walk goes on from there.
        ToolMissing: ssh is not installed.
    """
    began = time.monotonic()
    with instance_lock(context.catalogue.address, "walk"):
        origin = f"{context.remote.user}@{context.remote.host}:{root}"
        source_text = f"{origin}, {wanted.origin}" if wanted else origin
        scan_writer = ScanWriter.begin(context.catalogue.address, "walk", source_text)
        if scan_writer.resumed:
            log.info("the walk of %s goes on where it was stopped", source_text)
        discovered = discover(context.session, root, context.stop)
        located = recognised(
            discovered.experiments,
            context.catalogue.known_folders(),
            lambda paths: check_old_places(context.session, paths, context.stop),
            context.catalogue.overview.moved_visits(),
        )
        wanted_experiments = [item for item in located if _is_wanted(item.experiment, wanted)]
        log.info("%s at %s", count(len(wanted_experiments), "experiment"), source_text)
        progress.begin(len(wanted_experiments))
        walker = _Walker(context, scan_writer, progress)
        walker.walk(wanted_experiments)
        unseen = [
            item for item in scan_writer.unseen(walker.identities)
            if _would_be_seen(item.located, root) and _is_wanted(item.located.experiment, wanted)
        ]  # fmt: skip
        gone = [item for item in unseen if not discovered.may_hold(item.located.source)]
        scan_writer.gone(item.id for item in gone)
        bad, problems = scan_writer.problems()
        scan_writer.end(context.round_trip)
    refused = _refused(discovered, unseen, wanted)
    return ScanResult(
        origin=source_text,
        seen=tuple(sorted(walker.seen, key=lambda seen: seen.located.experiment)),
        before=walker.before,
        gone=tuple(gone),
        absent=tuple(sorted(wanted.epns - discovered.epns)) if wanted else (),
        everywhere=discovered.everywhere,
        left=progress.left,
        bad=bad + len(refused),
        problems=tuple([*refused, *problems][:10]),
        seconds=time.monotonic() - began,
        empty=None if discovered.epns else _nothing_visible(root, discovered.others),
    )


_NAMED = 10


def _nothing_visible(root: str, folders: Sequence[str]) -> str:
    """That there is no experiment: of an empty folder another thing than of a wrong one."""
    if not folders:
        return f"{root} has no folders that this user can see"
    more = f" and {len(folders) - _NAMED:,} more" if len(folders) > _NAMED else ""
    return (
        f"no folder in {root}, or in a folder of it, is named after an EPN; in {root} are "
        f"{', '.join(folders[:_NAMED])}{more}"
    )


def _is_wanted(experiment: Experiment, wanted: WantedEpns | None) -> bool:
    return wanted is None or experiment.epn in wanted.epns


def _would_be_seen(located: LocatedExperiment, root: str) -> bool:
    """Whether an experiment is known to be where a walk looks."""
    folder, _, name = located.source.rpartition("/")
    base = root.rstrip("/")
    return Epn.parse(name) == located.experiment.epn and folder in (
        base,
        f"{base}/{located.experiment.beamline}",
    )


def _refused(
    discovered: DiscoveredExperiments, unseen: Sequence[NotFound], wanted: WantedEpns | None
) -> list[ScanProblem]:
    """Why folders of experiments and of beamlines could not be listed at all."""
    problems = [ScanProblem(folder, b".", reason) for folder, reason in discovered.unlisted.items()]
    problems += [
        ScanProblem(link.path, b".", link.reason)
        for link in discovered.broken
        if link.experiment is None or _is_wanted(link.experiment, wanted)
    ]
    not_found = {item.located.source for item in unseen}
    problems += [
        ScanProblem(path, b".", "it is not a folder")
        for path, epn in discovered.other.items()
        if path in not_found or (wanted is not None and epn in wanted.epns)
    ]
    return problems


@dataclass
class _ExperimentScan:
    located: LocatedExperiment
    new: bool
    open: int = 0
    """Folders that are known and not listed yet."""


class _Walker:
    """Hands what the crawl finds to the catalogue; called from several threads."""

    def __init__(
        self, context: RunContext, scan_writer: ScanWriter, progress: ScanProgress
    ) -> None:
        self.seen: list[ScannedExperiment] = []
        self.before = 0
        self.identities: set[int] = set()
        self._context = replace(context, retries=MAX_RETRIES)
        self._scan_writer = scan_writer
        self._progress = progress
        self._trees: dict[int, _ExperimentScan] = {}
        self._lock = threading.Lock()

    def walk(self, experiments: Sequence[LocatedExperiment]) -> None:
        failures = 0
        remaining = list(self._not_yet_listed(experiments))
        while True:
            listed = self._progress.folders
            try:
                self._list(remaining)
                return
            except HostKeyRefused:
                raise
            except ListingError as error:
                failures = 0 if self._progress.folders > listed else failures + 1
                if failures and self._list_one_by_one(remaining):
                    failures = 0
                elif not self._context.try_again(failures, f"{_LOST}: {error}"):
                    raise
            finally:  # keep the folders that were listed, whatever happened
                self._scan_writer.flush()

    def _list(self, remaining: Sequence[tuple[int, LocatedExperiment]]) -> None:
        try:
            folders = self._begin(remaining)
            crawl(
                self._context.session, folders, self, self._context.stop, connections=CONNECTIONS,
                dot_files=self._context.transfer_options.dot_files,
            )  # fmt: skip
        except SftpNotOffered:
            self._by_rsync(remaining)

    def _list_one_by_one(self, remaining: Sequence[tuple[int, LocatedExperiment]]) -> bool:
        """Find the experiment at which the connection is lost, and give it up.

        False if the facility cannot be reached: then no experiment is to blame.
        """
        for identity, located in remaining:
            for last_try in (False, True):
                error = self._lost_at(identity, located)
                if error is None:
                    break
                if not self._reached():
                    return False
                if last_try:
                    self._give_up(identity, located, error)
                    return True
        return True

    def _lost_at(self, identity: int, located: LocatedExperiment) -> ListingError | None:
        if identity in self._trees:
            try:
                self._list([(identity, located)])
            except ListingError as error:
                self._scan_writer.flush()
                return error
        return None

    def _reached(self) -> bool:
        try:
            with Connection(self._context.remote, self._context.stop):
                return True
        except ListingError:
            return False

    def _give_up(self, identity: int, located: LocatedExperiment, error: ListingError) -> None:
        """Report every remaining folder of an experiment as not listed."""
        pending = self._scan_writer.pending(identity)
        self._trees[identity].open = len(pending)
        for path in pending:
            folder = Folder(identity, located.source.encode(), path)
            self.failed(folder, FolderError(f"the connection is lost again and again: {error}"))

    def _not_yet_listed(
        self, experiments: Sequence[LocatedExperiment]
    ) -> Iterator[tuple[int, LocatedExperiment]]:
        """The experiments with their ids, without those that this walk has listed before."""
        remembered = self._scan_writer.experiments(experiments)
        for located, (identity, scan_number) in zip(experiments, remembered, strict=True):
            self.identities.add(identity)
            if scan_number == self._scan_writer.id:
                self.before += 1
                self._progress.experiment()
            else:
                self._trees[identity] = _ExperimentScan(located, new=scan_number is None)
                yield identity, located

    def _begin(self, remaining: Iterable[tuple[int, LocatedExperiment]]) -> Iterator[Folder]:
        """The folders to list of each experiment that is not done."""
        for identity, located in remaining:
            if identity not in self._trees:
                continue
            folders = self._scan_writer.pending(identity)
            with self._lock:
                self._trees[identity].open = len(folders)
            if not folders:  # its remaining folders could not be listed
                self._drop(identity)
            for path in folders:
                yield Folder(identity, located.source.encode(), path)

    def enters(self, path: bytes) -> bool:
        return True

    def top(self, folder: Folder, entry: Entry) -> None:
        pass

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        folders = [entry.path for entry in entries if entry.kind is EntryKind.FOLDER]
        with self._lock:
            self._trees[folder.tag].open += len(folders)
        self._store_entries(folder.tag, entries)
        self._scan_writer.found(folder.tag, folders)

    def ended(self, folder: Folder) -> None:
        self._scan_writer.listed(folder.tag, folder.path)
        self._folder_done(folder.tag, listed=True)

    def failed(self, folder: Folder, refused: FolderError) -> None:
        self._scan_writer.failed(folder.tag, folder.path, refused.reason)
        self._folder_done(folder.tag, listed=False)

    def _store_entries(self, identity: int, entries: Sequence[Entry]) -> None:
        files = [entry for entry in entries if entry.kind is EntryKind.FILE]
        rows = [(file.path, file.size, file.modified, file.mode) for file in files]
        self._progress.entries(entries)
        known = (EntryKind.FILE, EntryKind.FOLDER)
        other_entries = [entry for entry in entries if entry.kind not in known]
        self._scan_writer.add_others(identity, other_entries)
        self._scan_writer.add(identity, rows)

    def _folder_done(self, identity: int, *, listed: bool) -> None:
        self._progress.folder(listed=listed)
        with self._lock:
            tree = self._trees[identity]
            tree.open -= 1
            is_complete = tree.open == 0
        if is_complete:
            self._finish(identity)

    def _finish(self, identity: int) -> None:
        tree = self._trees[identity]
        changes = self._scan_writer.finish(identity)
        with self._lock:
            self.seen.append(ScannedExperiment(tree.located, tree.new, changes))
        self._drop(identity)

    def _drop(self, identity: int) -> None:
        self._progress.experiment()
        with self._lock:
            del self._trees[identity]

    def _by_rsync(self, remaining: Iterable[tuple[int, LocatedExperiment]]) -> None:
        """Without SFTP: an experiment at a time."""
        for identity, located in remaining:
            if identity not in self._trees:
                continue
            self._scan_writer.pending(identity)
            self._trees[identity].open = 1
            folder = Folder(identity, located.source.encode())
            batch: list[Entry] = []

            def on_entry(
                entry: Entry, batch: list[Entry] = batch, identity: int = identity
            ) -> None:
                batch.append(entry)
                if len(batch) >= _BATCH_ENTRIES:
                    self._store_entries(identity, batch)
                    batch.clear()

            try:
                unlisted = list_experiment(
                    self._context.session, located.source, on_entry, self._context.stop,
                    dot_files=self._context.transfer_options.dot_files,
                )  # fmt: skip
            except (ExperimentAbsent, ListingRefused) as error:
                self._store_entries(identity, batch)
                self.failed(folder, FolderError(str(error)))
            else:
                self._store_entries(identity, batch)
                self._scan_writer.found(identity, (item.path for item in unlisted))
                self._trees[identity].open += len(unlisted)
                self.ended(folder)
                for item in unlisted:
                    self.failed(replace(folder, path=item.path), FolderError(item.reason))
