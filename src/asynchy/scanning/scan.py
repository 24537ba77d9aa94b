"""What as-walker does: every experiment that is visible, listed into the catalogue.

It goes on where it was stopped: what has been listed of a folder and that the folder is done are
stored together (`catalogue/scans.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.catalogue.scans import Changes, NotFound, ScanProblem, ScanWriter
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
from asynchy.facility.old_places import look_at_old_places
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
    """What came of a walk."""

    origin: str
    seen: tuple[ScannedExperiment, ...]
    """What this run of it has listed."""
    before: int
    """Experiments that had been listed before it was stopped."""
    gone: tuple[NotFound, ...]
    absent: tuple[Epn, ...]
    """What was wanted and was not found."""
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
    with instance_lock(context.catalogue.path, "walk"):
        origin = f"{context.remote.user}@{context.remote.host}:{root}"
        told = f"{origin}, {wanted.origin}" if wanted else origin
        sighting = ScanWriter.begin(context.catalogue.path, "walk", told)
        if sighting.resumed:
            log.info("the walk of %s goes on where it was stopped", told)
        there = discover(context.session, root, context.stop)
        located = recognised(
            there.experiments,
            context.catalogue.known_folders(),
            lambda paths: look_at_old_places(context.session, paths, context.stop),
            context.catalogue.overview.moved_visits(),
        )
        ours = [one for one in located if _is_wanted(one.experiment, wanted)]
        log.info("%s at %s", count(len(ours), "experiment"), told)
        progress.begin(len(ours))
        walker = _Walker(context, sighting, progress)
        walker.walk(ours)
        unseen = [
            item for item in sighting.unseen(walker.identities)
            if _would_be_seen(item.located, root) and _is_wanted(item.located.experiment, wanted)
        ]  # fmt: skip
        gone = [item for item in unseen if not there.may_hold(item.located.source)]
        sighting.gone(item.id for item in gone)
        bad, problems = sighting.problems()
        sighting.end(context.round_trip)
    refused = _refused(there, unseen, wanted)
    return ScanResult(
        origin=told,
        seen=tuple(sorted(walker.seen, key=lambda seen: seen.located.experiment)),
        before=walker.before,
        gone=tuple(gone),
        absent=tuple(sorted(wanted.epns - there.epns)) if wanted else (),
        everywhere=there.everywhere,
        left=progress.left,
        bad=bad + len(refused),
        problems=tuple([*refused, *problems][:10]),
        seconds=time.monotonic() - began,
        empty=None if there.epns else _nothing_visible(root, there.others),
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
    there: DiscoveredExperiments, unseen: Sequence[NotFound], wanted: WantedEpns | None
) -> list[ScanProblem]:
    """Why folders of experiments and of beamlines could not be listed at all."""
    problems = [ScanProblem(folder, b".", reason) for folder, reason in there.unlisted.items()]
    problems += [
        ScanProblem(link.path, b".", link.reason)
        for link in there.broken
        if link.experiment is None or _is_wanted(link.experiment, wanted)
    ]
    known = {item.located.source for item in unseen}
    problems += [
        ScanProblem(path, b".", "it is not a folder")
        for path, epn in there.other.items()
        if path in known or (wanted is not None and epn in wanted.epns)
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

    def __init__(self, context: RunContext, sighting: ScanWriter, progress: ScanProgress) -> None:
        self.seen: list[ScannedExperiment] = []
        self.before = 0
        self.identities: set[int] = set()
        self._context = replace(context, retries=MAX_RETRIES)
        self._sighting = sighting
        self._progress = progress
        self._trees: dict[int, _ExperimentScan] = {}
        self._lock = threading.Lock()

    def walk(self, ours: Sequence[LocatedExperiment]) -> None:
        tries = 0
        left = list(self._known(ours))
        while True:
            listed = self._progress.folders
            try:
                self._list(left)
                return
            except HostKeyRefused:
                raise
            except ListingError as error:
                tries = 0 if self._progress.folders > listed else tries + 1
                if tries and self._list_one_by_one(left):
                    tries = 0
                elif not self._context.try_again(tries, f"the walk lost the facility: {error}"):
                    raise
            finally:  # what was listed until now counts, whatever happened
                self._sighting.flush()

    def _list(self, left: Sequence[tuple[int, LocatedExperiment]]) -> None:
        try:
            folders = self._begin(left)
            crawl(
                self._context.session, folders, self, self._context.stop, connections=CONNECTIONS,
                dot_files=self._context.transfer_options.dot_files,
            )  # fmt: skip
        except SftpNotOffered:
            self._by_rsync(left)

    def _list_one_by_one(self, left: Sequence[tuple[int, LocatedExperiment]]) -> bool:
        """See at which experiment the connection is lost, and give that one up.

        False if it is the facility that cannot be reached, and no experiment's fault.
        """
        for identity, located in left:
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
                self._sighting.flush()
                return error
        return None

    def _reached(self) -> bool:
        try:
            with Connection(self._context.remote, self._context.stop):
                return True
        except ListingError:
            return False

    def _give_up(self, identity: int, located: LocatedExperiment, error: ListingError) -> None:
        """Tell of every folder of an experiment that is left that it could not be listed."""
        left = self._sighting.pending(identity)
        self._trees[identity].open = len(left)
        for path in left:
            folder = Folder(identity, located.source.encode(), path)
            self.failed(folder, FolderError(f"the connection is lost again and again: {error}"))

    def _known(self, ours: Sequence[LocatedExperiment]) -> Iterator[tuple[int, LocatedExperiment]]:
        """The experiments with their ids, without those that this walk has listed before."""
        remembered = self._sighting.experiments(ours)
        for located, (identity, walked) in zip(ours, remembered, strict=True):
            self.identities.add(identity)
            if walked == self._sighting.id:
                self.before += 1
                self._progress.experiment()
            else:
                self._trees[identity] = _ExperimentScan(located, new=walked is None)
                yield identity, located

    def _begin(self, left: Iterable[tuple[int, LocatedExperiment]]) -> Iterator[Folder]:
        """What is to be listed of each experiment that is not done."""
        for identity, located in left:
            if identity not in self._trees:
                continue
            folders = self._sighting.pending(identity)
            with self._lock:
                self._trees[identity].open = len(folders)
            if not folders:  # what is left of it could not be listed
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
        self._take(folder.tag, entries)
        self._sighting.found(folder.tag, folders)

    def ended(self, folder: Folder) -> None:
        self._sighting.listed(folder.tag, folder.path)
        self._settle(folder.tag, listed=True)

    def failed(self, folder: Folder, refused: FolderError) -> None:
        self._sighting.failed(folder.tag, folder.path, refused.reason)
        self._settle(folder.tag, listed=False)

    def _take(self, identity: int, entries: Sequence[Entry]) -> None:
        rows = [(e.path, e.size, e.modified, e.mode) for e in entries if e.kind is EntryKind.FILE]
        self._progress.entries(entries)
        others = [e for e in entries if e.kind not in (EntryKind.FILE, EntryKind.FOLDER)]
        self._sighting.add_others(identity, others)
        self._sighting.add(identity, rows)

    def _settle(self, identity: int, *, listed: bool) -> None:
        self._progress.folder(listed=listed)
        with self._lock:
            tree = self._trees[identity]
            tree.open -= 1
            done = tree.open == 0
        if done:
            self._finish(identity)

    def _finish(self, identity: int) -> None:
        tree = self._trees[identity]
        changes = self._sighting.finish(identity)
        with self._lock:
            self.seen.append(ScannedExperiment(tree.located, tree.new, changes))
        self._drop(identity)

    def _drop(self, identity: int) -> None:
        self._progress.experiment()
        with self._lock:
            del self._trees[identity]

    def _by_rsync(self, left: Iterable[tuple[int, LocatedExperiment]]) -> None:
        """Without SFTP: an experiment at a time."""
        for identity, located in left:
            if identity not in self._trees:
                continue
            self._sighting.pending(identity)
            self._trees[identity].open = 1
            folder = Folder(identity, located.source.encode())
            batch: list[Entry] = []

            def hear(entry: Entry, batch: list[Entry] = batch, identity: int = identity) -> None:
                batch.append(entry)
                if len(batch) >= _BATCH_ENTRIES:
                    self._take(identity, batch)
                    batch.clear()

            try:
                unlisted = list_experiment(
                    self._context.session, located.source, hear, self._context.stop,
                    dot_files=self._context.transfer_options.dot_files,
                )  # fmt: skip
            except (ExperimentAbsent, ListingRefused) as error:
                self._take(identity, batch)
                self.failed(folder, FolderError(str(error)))
            else:
                self._take(identity, batch)
                self._sighting.found(identity, (one.path for one in unlisted))
                self._trees[identity].open += len(unlisted)
                self.ended(folder)
                for one in unlisted:
                    self.failed(replace(folder, path=one.path), FolderError(one.reason))
