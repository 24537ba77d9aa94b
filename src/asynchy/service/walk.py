"""What as-walker does: every experiment that is visible, listed into the catalogue.

It goes on where it was stopped: what has been listed of a folder and that the folder is done are
stored together (`catalogue/sightings.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asynchy.catalogue.sightings import Changes, Problem, Sighting, Unseen
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Entry, Experiment, Kind, Located
from asynchy.domain.text import count
from asynchy.errors import (
    ExitCode,
    ExperimentAbsent,
    HostKeyRefused,
    ListingError,
    ListingRefused,
    SftpNotOffered,
)
from asynchy.facility.crawl import Refused, crawl
from asynchy.facility.folder_queue import Folder
from asynchy.facility.listing import list_experiment
from asynchy.facility.visible import Visible, visible
from asynchy.service.alone import alone
from asynchy.service.scan_progress import ScanProgress
from asynchy.service.site import Site
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

CONNECTIONS = 4
"""Made one a second; sshd drops some of more than ten that come at once (MaxStartups)."""
RETRIES = 5
"""How often the connection may be lost with nothing listed in between."""
_BATCH = 5_000


@dataclass(frozen=True)
class Wanted:
    """The EPNs that a walk is for."""

    epns: frozenset[Epn]
    origin: str
    """Where they come from, in words."""


@dataclass(frozen=True)
class Seen:
    """An experiment that a walk has listed."""

    located: Located
    new: bool
    """Whether it had never been walked."""
    changes: Changes


@dataclass(frozen=True)
class Walked:
    """What came of a walk."""

    origin: str
    seen: tuple[Seen, ...]
    """What this run of it has listed."""
    before: int
    """Experiments that had been listed before it was stopped."""
    gone: tuple[Unseen, ...]
    absent: tuple[Epn, ...]
    """What was wanted and was not found."""
    everywhere: bool
    """Whether every folder that may hold experiments could be listed; otherwise what was not found
    may be there all the same."""
    left: dict[Kind, int]
    """Symbolic links and special files, which are not taken."""
    bad: int
    """Folders that could not be listed."""
    problems: tuple[Problem, ...]
    """The first ten of them."""
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """Whether all that is visible was listed."""
        return ExitCode.DUE if self.bad else ExitCode.OK


def walk(site: Site, root: str, wanted: Wanted | None, progress: ScanProgress) -> Walked:
    """List the experiments below a folder at the facility into the catalogue.

    Raises:
        AlreadyRunning: another walk works on the catalogue.
        CatalogueError: the catalogue cannot be used.
        ListingError: the facility cannot be reached, or the connection was lost again and again;
            the next walk goes on from there.
        Stopped: a stop was asked for meanwhile; the next walk goes on from there.
        ToolMissing: ssh is not installed.
    """
    began = time.monotonic()
    with alone(site.catalogue.path, "walk"):
        origin = f"{site.remote.user}@{site.remote.host}:{root}"
        told = f"{origin}, {wanted.origin}" if wanted else origin
        sighting = Sighting.begin(site.catalogue.path, "walk", told)
        if sighting.resumed:
            log.info("the walk of %s goes on where it was stopped", told)
        there = visible(site.remote, root, site.stop)
        ours = [one for one in there.experiments if _is_wanted(one.experiment, wanted)]
        log.info("%s at %s", count(len(ours), "experiment"), told)
        progress.begin(len(ours))
        walker = _Walker(site, sighting, progress)
        walker.walk(ours)
        unseen = [
            item for item in sighting.unseen(walker.identities)
            if _would_be_seen(item.located, root) and _is_wanted(item.located.experiment, wanted)
        ]  # fmt: skip
        gone = [item for item in unseen if not there.may_hold(item.located.source)]
        sighting.gone(item.id for item in gone)
        bad, problems = sighting.problems()
        sighting.end(site.round_trip)
    refused = _refused(there, unseen, wanted)
    return Walked(
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
    )


def _is_wanted(experiment: Experiment, wanted: Wanted | None) -> bool:
    return wanted is None or experiment.epn in wanted.epns


def _would_be_seen(located: Located, root: str) -> bool:
    """Whether an experiment is known to be where a walk looks."""
    folder, _, name = located.source.rpartition("/")
    base = root.rstrip("/")
    return Epn.parse(name) == located.experiment.epn and folder in (
        base,
        f"{base}/{located.experiment.beamline}",
    )


def _refused(there: Visible, unseen: Sequence[Unseen], wanted: Wanted | None) -> list[Problem]:
    """Why folders of experiments and of beamlines could not be listed at all."""
    problems = [Problem(folder, b".", reason) for folder, reason in there.unlisted.items()]
    problems += [
        Problem(link.path, b".", link.reason)
        for link in there.broken
        if link.experiment is None or _is_wanted(link.experiment, wanted)
    ]
    known = {item.located.source for item in unseen}
    problems += [
        Problem(path, b".", "it is not a folder")
        for path, epn in there.other.items()
        if path in known or (wanted is not None and epn in wanted.epns)
    ]
    return problems


@dataclass
class _Tree:
    located: Located
    new: bool
    open: int = 0
    """Folders that are known and not listed yet."""


class _Walker:
    """Hands what the crawl finds to the catalogue; called from several threads."""

    def __init__(self, site: Site, sighting: Sighting, progress: ScanProgress) -> None:
        self.seen: list[Seen] = []
        self.before = 0
        self.identities: set[int] = set()
        self._site = replace(site, retries=RETRIES)
        self._sighting = sighting
        self._progress = progress
        self._trees: dict[int, _Tree] = {}
        self._lock = threading.Lock()

    def walk(self, ours: Sequence[Located]) -> None:
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
                elif not self._site.try_again(tries, f"the walk lost the facility: {error}"):
                    raise
            finally:  # what was listed until now counts, whatever happened
                self._sighting.flush()

    def _list(self, left: Sequence[tuple[int, Located]]) -> None:
        try:
            folders = self._begin(left)
            crawl(self._site.remote, folders, self, self._site.stop, connections=CONNECTIONS)
        except SftpNotOffered:
            self._by_rsync(left)

    def _list_one_by_one(self, left: Sequence[tuple[int, Located]]) -> bool:
        """See at which experiment the connection is lost, and give that one up.

        False where it is the facility that cannot be reached, and no experiment's fault.
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

    def _lost_at(self, identity: int, located: Located) -> ListingError | None:
        if identity in self._trees:
            try:
                self._list([(identity, located)])
            except ListingError as error:
                self._sighting.flush()
                return error
        return None

    def _reached(self) -> bool:
        try:
            with Connection(self._site.remote, self._site.stop):
                return True
        except ListingError:
            return False

    def _give_up(self, identity: int, located: Located, error: ListingError) -> None:
        """Tell of every folder of an experiment that is left that it could not be listed."""
        left = self._sighting.pending(identity)
        self._trees[identity].open = len(left)
        for path in left:
            folder = Folder(identity, located.source.encode(), path)
            self.failed(folder, Refused(f"the connection is lost again and again: {error}"))

    def _known(self, ours: Sequence[Located]) -> Iterator[tuple[int, Located]]:
        """The experiments with their ids, without those that this walk has listed before."""
        remembered = self._sighting.experiments(ours)
        for located, (identity, walked) in zip(ours, remembered, strict=True):
            self.identities.add(identity)
            if walked == self._sighting.id:
                self.before += 1
                self._progress.experiment()
            else:
                self._trees[identity] = _Tree(located, new=walked is None)
                yield identity, located

    def _begin(self, left: Iterable[tuple[int, Located]]) -> Iterator[Folder]:
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
        folders = [entry.path for entry in entries if entry.kind is Kind.FOLDER]
        with self._lock:
            self._trees[folder.tag].open += len(folders)
        self._take(folder.tag, entries)
        self._sighting.found(folder.tag, folders)

    def ended(self, folder: Folder) -> None:
        self._sighting.listed(folder.tag, folder.path)
        self._settle(folder.tag, listed=True)

    def failed(self, folder: Folder, refused: Refused) -> None:
        self._sighting.failed(folder.tag, folder.path, refused.reason)
        self._settle(folder.tag, listed=False)

    def _take(self, identity: int, entries: Sequence[Entry]) -> None:
        rows = [(e.path, e.size, e.modified, e.mode) for e in entries if e.kind is Kind.FILE]
        self._progress.entries(entries)
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
            self.seen.append(Seen(tree.located, tree.new, changes))
        self._drop(identity)

    def _drop(self, identity: int) -> None:
        self._progress.experiment()
        with self._lock:
            del self._trees[identity]

    def _by_rsync(self, left: Iterable[tuple[int, Located]]) -> None:
        """Without SFTP: an experiment at a time, each whole or not at all."""
        for identity, located in left:
            if identity not in self._trees:
                continue
            self._sighting.pending(identity)
            self._trees[identity].open = 1
            folder = Folder(identity, located.source.encode())
            batch: list[Entry] = []

            def hear(entry: Entry, batch: list[Entry] = batch, identity: int = identity) -> None:
                batch.append(entry)
                if len(batch) >= _BATCH:
                    self._take(identity, batch)
                    batch.clear()

            try:
                list_experiment(self._site.remote, located.source, hear, self._site.stop)
            except (ExperimentAbsent, ListingRefused) as error:
                self._take(identity, batch)
                self.failed(folder, Refused(str(error)))
            else:
                self._take(identity, batch)
                self.ended(folder)
