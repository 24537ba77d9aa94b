"""Which experiments there are at the facility for the user that we log in as."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from asynchy.errors import ExperimentAbsent, ListingError, ListingRefused
from asynchy.facility.links import Followed, follow_by_rsync, follow_by_sftp
from asynchy.facility.lister import list_experiment
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Entry, EntryKind, Experiment, LocatedExperiment
from asynchy.model.formatting import escaped
from asynchy.ssh.session import ServerSession

log = logging.getLogger(__name__)

_MAX_ENTRIES = 1_000_000
"""Entries in a folder of experiments that may be one: their names are held in memory."""
_BEAMLINE = re.compile(rb"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]{0,99}")


@dataclass(frozen=True)
class DiscoveredExperiments:
    """The experiments below a folder, and the folders that cannot be used."""

    experiments: tuple[LocatedExperiment, ...]
    """In order of beamline and EPN."""
    unlisted: dict[str, str]
    """Folder of a beamline that could not be listed, or second folder of one EPN -> why."""
    broken: tuple[BrokenLink, ...]
    """Symbolic links in the place of an experiment's or a beamline's folder that lead to none."""
    other: dict[str, Epn]
    """Paths named like an EPN that are neither a folder nor a link, such as files."""
    others: tuple[str, ...] = ()
    """Names of folders at the top that no EPN has: beamlines, or what else is there."""

    @property
    def everywhere(self) -> bool:
        """Whether every folder that may hold experiments could be listed."""
        return not self.unlisted and all(link.experiment for link in self.broken)

    @property
    def epns(self) -> set[Epn]:
        """The EPNs that name a folder, a link or a file, whether or not it can be listed."""
        epns = {located.experiment.epn for located in self.experiments}
        links = {link.experiment.epn for link in self.broken if link.experiment is not None}
        return epns | links | set(self.other.values())

    def may_hold(self, source: str) -> bool:
        """Whether there is, or may be, something in the place of an experiment that was not found.

        There may be if the folder above it could not be listed.
        """
        return source in self._occupied or source.rpartition("/")[0] in self._occupied

    @cached_property
    def _occupied(self) -> frozenset[str]:
        return frozenset([*self.unlisted, *self.other, *(link.path for link in self.broken)])


def discover(session: ServerSession, root: str, stop: Stop) -> DiscoveredExperiments:
    """The experiments in a folder at the facility and in the folders in it.

    Both layouts that the facility has had: `/data/<epn>`, and `/data/<beamline>/<epn>`. A folder
    whose name is not an EPN counts as a beamline's; inside a beamline's folder, it is skipped. A
    symbolic link to a folder counts as that folder.

    Raises:
        ListingError: the folder itself could not be listed, or the connection broke off.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    base = root.rstrip("/")
    try:
        top = _list_folder(session, root, stop, base=base, may_be=_is_either)
    except ExperimentAbsent:
        raise ListingError(
            f"there is no {root} at the facility", hint="check `walk-root`"
        ) from None
    parts = [top.as_discovered("")]
    unlisted: dict[str, str] = {}
    for name in top.folders:
        if _epn(name) is not None:
            continue
        if not _is_beamline(name):
            log.info("%s/%s is neither an EPN's nor a beamline's folder", base, escaped(name))
            continue
        folder = f"{base}/{name.decode('ascii')}"
        try:
            parts.append(discover_in(session, folder, name.decode("ascii"), stop))
        except (ExperimentAbsent, ListingRefused) as error:
            unlisted[folder] = error.message.removeprefix(f"{folder}: ")
    located = [item for part in parts for item in part.experiments]
    return DiscoveredExperiments(
        experiments=tuple(sorted(located, key=lambda item: item.experiment)),
        unlisted={key: reason for part in parts for key, reason in part.unlisted.items()}
        | unlisted,
        broken=tuple(link for part in parts for link in part.broken),
        other={path: epn for part in parts for path, epn in part.other.items()},
        others=tuple(escaped(name) for name in sorted(top.folders) if _epn(name) is None),
    )


def discover_in(
    session: ServerSession, folder: str, beamline: str, stop: Stop
) -> DiscoveredExperiments:
    """The experiments in one folder, which is a beamline's.

    Raises:
        ListingError: it could not be listed; `ExperimentAbsent` if it does not exist.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    return _list_folder(session, folder, stop, base=folder, may_be=_is_epn).as_discovered(beamline)


@dataclass
class _Entries:
    """The entries of a folder of experiments."""

    base: str
    """The folder, without a slash at the end."""
    folders: list[bytes]
    """Names of folders, and of links that lead to one."""
    links: dict[bytes, Followed]
    """Links that may be an experiment's or a beamline's folder."""
    other: list[Epn]
    """Names of EPNs that are neither a folder nor a link."""

    def as_discovered(self, beamline: str) -> DiscoveredExperiments:
        """The experiments of the folder of `beamline`; empty: the folder is not a beamline's."""
        located = []
        for name in self.folders:
            if (epn := _epn(name)) is not None:
                target = self.links[name].target if name in self.links else None
                # The folder's own spelling: the facility distinguishes 12282A and 12282a.
                path = f"{self.base}/{name.decode('ascii')}"
                located.append(LocatedExperiment(Experiment(beamline, epn), path, target))
        experiments, second = _one_folder_each(located)
        broken = []
        for name, link in self.links.items():
            if link.problem is not None:
                epn = _epn(name)
                experiment = None if epn is None else Experiment(beamline, epn)
                path = f"{self.base}/{name.decode('ascii')}"
                broken.append(BrokenLink(path, link.target, link.problem, experiment))
        return DiscoveredExperiments(
            experiments=tuple(experiments),
            unlisted=second,
            broken=tuple(sorted(broken, key=lambda link: link.path)),
            other={f"{self.base}/{epn}": epn for epn in self.other},
        )


def _list_folder(
    session: ServerSession, folder: str, stop: Stop, *, base: str, may_be: Callable[[bytes], bool]
) -> _Entries:
    """List a folder, and follow the links in it whose names `may_be` accepts."""
    entries = _Entries(base, [], {}, [])
    links: list[bytes] = []
    of_kind = {EntryKind.FOLDER: entries.folders, EntryKind.SYMLINK: links}
    number = 0

    def on_entry(entry: Entry) -> None:
        nonlocal number
        is_folder = entry.kind is EntryKind.FOLDER and entry.path != b"."
        if not is_folder and not may_be(entry.path):
            return
        number += 1
        if number > _MAX_ENTRIES:
            raise ListingRefused(f"{folder}: more than {_MAX_ENTRIES:,} folders of experiments")
        if entry.kind in of_kind:
            of_kind[entry.kind].append(entry.path)
        elif (epn := _epn(entry.path)) is not None:
            entries.other.append(epn)

    list_experiment(session, folder, on_entry, stop, deep=False)
    if links:
        follow = follow_by_sftp if session.facts.offers_sftp else follow_by_rsync
        entries.links = follow(session, base, links, stop)
    for name, link in entries.links.items():
        if link.problem is None:
            entries.folders.append(name)
            log.info(
                "%s/%s is a symbolic link to %s", base, escaped(name), link.target or "a folder"
            )
    return entries


def _one_folder_each(
    located_experiments: list[LocatedExperiment],
) -> tuple[list[LocatedExperiment], dict[str, str]]:
    """The experiments in order, and further folders of their EPNs -> why they are left out.

    12282A and 12282a are one EPN, and their files would be mixed up at home.
    """

    def in_order(item: LocatedExperiment) -> tuple[str, str, str]:
        # Swapped, lower case comes first: it is how EPNs are stored and, as far as known, spelled.
        experiment = item.experiment
        return experiment.beamline, experiment.epn.text, item.source.swapcase()

    chosen: dict[Experiment, LocatedExperiment] = {}
    left_out: dict[str, str] = {}
    for located in sorted(located_experiments, key=in_order):
        first = chosen.setdefault(located.experiment, located)
        if first is not located:  # of several, the last one is named
            reason = f"left out: {first.source} is a folder of the same EPN; ask the facility"
            log.warning("%s: %s", located.source, reason)
            left_out[located.source] = reason
            chosen[located.experiment] = replace(first, second=located.source)
    return list(chosen.values()), left_out


def _epn(name: bytes) -> Epn | None:
    """The EPN that a folder is named after, in whatever case; blanks around it are no EPN's."""
    text = name.decode("latin-1")
    epn = Epn.parse(text)
    return epn if epn is not None and epn.text == text.lower() else None


def _is_epn(name: bytes) -> bool:
    return _epn(name) is not None


def _is_beamline(name: bytes) -> bool:
    return _BEAMLINE.fullmatch(name) is not None


def _is_either(name: bytes) -> bool:
    return _is_epn(name) or _is_beamline(name)
