"""Everything that must be right before the first cycle, or the first walk, tried for real."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.catalogue.filesystem import network_file_system
from asynchy.config import EquipmentEntry, Settings, Shared
from asynchy.config.ignore_file import IgnoreFile
from asynchy.domain.stop import Stop
from asynchy.domain.text import count, size
from asynchy.errors import AlreadyRunning, AsynchyError, ListingError
from asynchy.facility.listing import list_experiment
from asynchy.plan.policy import CURRENT
from asynchy.service.alone import alone, lock_file
from asynchy.service.ask import SKEW, apart
from asynchy.service.board import Board
from asynchy.service.cycle_site import CycleSite, cycle_site_of
from asynchy.service.heard import Heard, credentials_of
from asynchy.service.lost_state import lost_error, read_state_files
from asynchy.service.site import Site, site_of
from asynchy.service.writable import unwritable
from asynchy.ssh import probe
from asynchy.ssh.rsync_output import known_holes
from asynchy.verify.destination import room


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    what: str
    good: bool
    found: str
    to_do: str | None = None


def examine(settings: Shared) -> Iterator[Finding]:
    """Try everything that the config is for, one after the other; nothing is changed.

    A whole `config.yml` is for cycles of mxsync, another layout for as-walker and `asynchy sync`.
    """
    try:
        if isinstance(settings, Settings):
            yield from _examine_cycle(settings)
        else:
            yield from _examine_walk(settings)
    except AsynchyError as error:
        yield _bad("state", error)


def _examine_walk(settings: Shared) -> Iterator[Finding]:
    yield from _programs()
    yield from _logs(settings)
    yield from _catalogue_file(settings)
    site = site_of(settings, Stop(), Board(), write=False)
    yield from _server(site, [settings.walk_root])
    yield _catalogue(site)
    yield _service(settings)


_PAST_DAYS = 366
"""Equipment that had no visit for that long is probably named by a wrong id."""


def _examine_cycle(settings: Settings) -> Iterator[Finding]:
    yield from _programs()
    yield from _ignore_file(settings)
    yield from _logs(settings)
    yield from _catalogue_file(settings)
    site = cycle_site_of(settings, Stop(), Board(), write=False)
    for entry in settings.equipment:
        yield _portal(site, entry)
    yield _clock(site)
    yield from _server(site, settings.source_folders)
    yield from _destination(settings)
    yield _catalogue(site)
    yield from _lost(settings)
    yield _service(settings)


def _programs() -> Iterator[Finding]:
    for name, version in zip(("rsync", "ssh"), probe.own_versions(), strict=True):
        to_do = None if version else f"install the package that has {name}"
        if version and name == "rsync" and (holes := known_holes(version)):
            to_do = f"it {probe.may_have(holes)}"
        yield Finding(f"{name} here", version is not None, version or "not installed", to_do)


def _portal(site: CycleSite, entry: EquipmentEntry) -> Finding:
    what = f"portal, equipment {entry.id}"
    now = datetime.now(UTC)
    heard = Heard(entry, site.settings.beamline_of(entry), since=now + CURRENT, until=now + CURRENT)
    heard.reach_back(site.portal, now)
    if heard.problem:
        return Finding(what, False, heard.problem, "see above; then ask the facility")
    past = now - timedelta(days=_PAST_DAYS)
    if not heard.visits and not site.portal.has_visits(credentials_of(entry), entry.id, past, now):
        never = f"credentials accepted, but no visit in the last {_PAST_DAYS} days"
        return Finding(what, True, never, "check that it is the id of your beamline's equipment")
    return Finding(what, True, f"credentials accepted, {count(len(heard.visits), 'current visit')}")


def _clock(site: CycleSite) -> Finding:
    offset = site.portal.clock_offset
    if offset is None:
        return Finding("clock", False, "the portal did not tell its time", "mend the portal first")
    to_do = None if abs(offset) <= SKEW else "have this machine's clock set (chrony, ntpd)"
    return Finding("clock", abs(offset) <= SKEW, apart(offset), to_do)


def _server(site: Site, folders: Iterable[str]) -> Iterator[Finding]:
    remote = site.remote
    where = f"{remote.user} at {remote.host}"
    try:
        service = probe.sftp(remote)
    except AsynchyError as error:
        why = error.message.removeprefix(f"{remote.host}: ")
        yield Finding(f"SFTP service, {where}", False, why, error.hint)
    else:
        found = f"host key and key accepted, version {service.version}"
        yield Finding(f"SFTP service, {where}", True, found)
        yield Finding("round trip", True, f"{service.round_trip * 1000:.1f} ms")
    try:
        version = probe.rsync_version(remote)
    except ListingError as error:
        yield Finding("rsync there", False, f"not asked: {error}", error.hint)
    except AsynchyError as error:
        yield _bad("rsync there", error)
        return
    else:
        yield Finding("rsync there", True, version or "does not tell its version")
    for folder in folders:
        yield _source(site, folder)


def _source(site: Site, folder: str) -> Finding:
    """List a folder that holds experiments, one level deep."""
    names: list[bytes] = []
    try:
        list_experiment(
            site.remote, folder, lambda entry: names.append(entry.path), site.stop, deep=False
        )
    except AsynchyError as error:
        return _bad(f"source {folder}", error)
    return Finding(f"source {folder}", True, count(max(0, len(names) - 1), "entry", "entries"))


def _destination(settings: Settings) -> Iterator[Finding]:
    root = settings.destination_root_path
    if not root.is_dir():
        yield Finding("destination", False, f"{root} is not there", "mount it, or mend the config")
        return
    free = room(root)
    inodes = "" if free.inodes is None else f", {free.inodes:,} inodes"
    space = "free space not known" if free.bytes is None else f"{size(free.bytes)} free"
    yield Finding("destination", True, f"{root}, {space}{inodes}")
    for project in sorted(set(settings.epn_cap_map.values())):
        yield _project(root / project)


def _project(folder: Path) -> Finding:
    what = f"project {folder.name}"
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return Finding(what, False, f"{folder}: {error.strerror}", "make it, or mend epn_cap_map")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return Finding(what, False, f"{folder} cannot be written", "chmod g+w, or join its group")
    if not mode & stat.S_ISGID:
        hint = f"chmod g+s {folder}, so that all in it belongs to the project's group"
        return Finding(what, True, f"{folder} is writable, without the setgid bit", hint)
    return Finding(what, True, f"{folder} is writable")


def _ignore_file(settings: Settings) -> Iterator[Finding]:
    """It is replaced by a new file beside it, so its folder must be writable, too."""
    path = settings.ignore
    try:
        entries = IgnoreFile(path).read()
    except AsynchyError as error:
        yield _bad("ignore.yml", error)
        return
    problem = unwritable(path, beside=[f".{path.name}.lock"])
    if problem is not None:
        yield Finding("ignore.yml", False, *problem)
        return
    number = count(len(entries.epns), "entry", "entries")
    found = number if entries.has_list else "no list yet"
    yield Finding("ignore.yml", True, f"{path} can be written, {found}")
    for warning in entries.warnings:
        yield Finding("ignore.yml", True, warning)


def _logs(settings: Shared) -> Iterator[Finding]:
    """Each rotates: it is renamed, under a lock beside it."""
    files = settings.log_files
    for name, path in (("sync", files.sync), ("epnalert", files.epnalert), ("email", files.email)):
        if path is None:
            continue
        problem = unwritable(path, beside=[f".__{path.name.removesuffix('.log')}.lock"])
        if problem is not None:
            yield Finding(f"log {name}", False, *problem)
        else:
            yield Finding(f"log {name}", True, f"{path} can be written")


def _catalogue_file(settings: Shared) -> Iterator[Finding]:
    path = settings.catalogue_path
    kind = network_file_system(path.parent)
    if kind is not None:
        to_do = "set `catalogue` to a path on a local disk"
        yield Finding("catalogue", False, f"{path} lies on a network file system ({kind})", to_do)
        return
    problem = unwritable(path, beside=[f"{path.name}-wal", f"{path.name}-shm"])
    if problem is not None:
        yield Finding("catalogue", False, *problem)


def _catalogue(site: Site) -> Finding:
    known = count(len(site.catalogue.overview.copies()), "copy", "copies")
    return Finding("catalogue", True, f"{site.catalogue.path}, {known} known")


def _lost(settings: Settings) -> Iterator[Finding]:
    """Whether `ignore.yml` or the catalogue is missing; what cannot be used was said before."""
    try:
        error = lost_error(read_state_files(settings, write=False))
    except AsynchyError:
        return
    if error is not None:
        yield _bad("state", error)


def _service(settings: Shared) -> Finding:
    none = Finding("service", True, "none runs on this catalogue")
    if not lock_file(settings.catalogue_path, "service").exists():
        return none
    try:
        with alone(settings.catalogue_path, "service"):
            return none
    except AlreadyRunning as error:
        return Finding("service", True, str(error))


def _bad(what: str, error: AsynchyError) -> Finding:
    return Finding(what, False, str(error), error.hint)
