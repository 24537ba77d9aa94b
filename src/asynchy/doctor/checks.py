"""Everything that must be right before the first cycle, or the first walk, tried for real."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.config import EquipmentEntry, Settings, Shared
from asynchy.config.ignore_file import IgnoreFile
from asynchy.delivery.checks import channel_problems
from asynchy.doctor.diagnostic_result import DiagnosticResult
from asynchy.doctor.leftovers import leftovers
from asynchy.engines.selection import choose
from asynchy.errors import (
    AlreadyRunning,
    AsynchyError,
    CommandsNotOffered,
    SftpNotOffered,
)
from asynchy.facility.lister import list_experiment
from asynchy.facility.portal.visit_window import VisitWindow, credentials_of
from asynchy.localfs.filesystem import network_file_system
from asynchy.localfs.free_space import free_space
from asynchy.localfs.log_stream import is_pipe, open_stream
from asynchy.localfs.trial import refusals
from asynchy.localfs.writable import unwritable
from asynchy.model.cancellation import Stop
from asynchy.model.clock import apart, is_wrong
from asynchy.model.file_modes import Modes
from asynchy.model.formatting import count, escaped, moment, size
from asynchy.model.policy import CURRENT
from asynchy.repatriation.lost_state import lost_error, read_state_files
from asynchy.runtime.context import RunContext, run_context
from asynchy.runtime.cycle_context import CycleContext, cycle_context
from asynchy.runtime.instance_lock import instance_lock, lock_file
from asynchy.runtime.progress import ProgressBoard
from asynchy.ssh import capabilities
from asynchy.ssh.rsync import runner
from asynchy.ssh.rsync.output import known_holes


def examine(settings: Shared) -> Iterator[DiagnosticResult]:
    """Try everything that the config is for, one after the other; nothing of it stays.

    A whole `config.yml` is for cycles of mxsync, another layout for as-walker and `asynchy sync`.
    """
    yield from leftovers(settings.destination_root_path if isinstance(settings, Settings) else None)
    try:
        if isinstance(settings, Settings):
            yield from _examine_cycle(settings)
        else:
            yield from _examine_walk(settings)
    except AsynchyError as error:
        yield _bad("state", error)


def _examine_walk(settings: Shared) -> Iterator[DiagnosticResult]:
    yield from _programs()
    yield from _logs(settings)
    yield from _catalogue_file(settings)
    context = run_context(settings, Stop(), ProgressBoard(), write=False)
    yield from _server(context, [settings.walk_root])
    yield _catalogue(context)
    yield _service(settings)


_PAST_DAYS = 366
"""Equipment that had no visit for that long is probably named by a wrong id."""


def _examine_cycle(settings: Settings) -> Iterator[DiagnosticResult]:
    yield from _programs()
    yield from _ignore_file(settings)
    yield from _logs(settings)
    yield from _catalogue_file(settings)
    context = cycle_context(settings, Stop(), ProgressBoard(), write=False)
    faults: dict[str, int] = {}
    for entry in settings.equipment:
        yield _portal(context, entry, faults)
    yield _clock(context)
    yield from _server(context, settings.source_folders)
    yield from _destination(settings)
    if not settings.retention_days:
        yield DiagnosticResult(
            "retention-days",
            True,
            "not set, so nobody is warned before the facility deletes",
            "ask the facility for how many days it keeps data, and set it",
        )
    yield _catalogue(context)
    yield from _channels(context)
    yield from _lost(settings)
    if (pause := context.catalogue.pauses.current(datetime.now(UTC))) is not None:
        yield DiagnosticResult("pause", False, f"mxsync is {pause}", "`asynchy resume` ends it")
    yield _service(settings)


def _programs() -> Iterator[DiagnosticResult]:
    for name, version in zip(("rsync", "ssh"), capabilities.own_versions(), strict=True):
        to_do = None if version else f"install the package that has {name}"
        if version and name == "rsync" and (holes := known_holes(version)):
            to_do = f"it {capabilities.may_have(holes)}"
        yield DiagnosticResult(
            f"{name} here", version is not None, version or "not installed", to_do
        )


def _portal(
    context: CycleContext, entry: EquipmentEntry, faults: dict[str, int]
) -> DiagnosticResult:
    """Whether the portal answers for an entry; `faults`: those that were found, and for which."""
    what = f"portal, equipment {entry.id}"
    now = datetime.now(UTC)
    heard = VisitWindow(
        entry, context.settings.beamline_of(entry), since=now + CURRENT, until=now + CURRENT
    )
    heard.reach_back(context.portal, now)
    if heard.fault in faults:
        return _skipped(what, f"the same fault as for equipment {faults[heard.fault]}")
    if heard.fault is not None:
        faults[heard.fault] = entry.id
    if heard.problem:
        return DiagnosticResult(what, False, heard.problem, "see above; then ask the facility")
    past = now - timedelta(days=_PAST_DAYS)
    if not heard.visits and not context.portal.has_visits(
        credentials_of(entry), entry.id, past, now
    ):
        never = f"credentials accepted, but no visit in the last {_PAST_DAYS} days"
        return DiagnosticResult(
            what, True, never, "check that it is the id of your beamline's equipment"
        )
    return DiagnosticResult(
        what, True, f"credentials accepted, {count(len(heard.visits), 'current visit')}"
    )


def _clock(context: CycleContext) -> DiagnosticResult:
    offset = context.portal.clock_offset
    if offset is None:
        return _skipped("clock", "the portal did not report its time")
    to_do = None if not is_wrong(offset) else "have this machine's clock set (chrony, ntpd)"
    return DiagnosticResult("clock", not is_wrong(offset), apart(offset), to_do)


_SFTP = "SFTP service"


def _server(context: RunContext, folders: Iterable[str]) -> Iterator[DiagnosticResult]:
    """What the server offers, as far as the engine in use needs it; a fault is named once."""
    fault = None
    for finding in _server_findings(context, list(folders)):
        if not finding.good and finding.found == fault:
            yield _skipped(finding.what, "the same fault as of the SFTP service")
            continue
        yield finding
        if finding.what.startswith(_SFTP) and not finding.good:
            fault = finding.found


def _server_findings(context: RunContext, folders: Sequence[str]) -> Iterator[DiagnosticResult]:
    remote = context.remote
    what = f"{_SFTP}, {remote.user} at {remote.host}"
    offers_sftp = True
    try:
        service = capabilities.sftp(remote)
    except SftpNotOffered as error:
        offers_sftp = False
        yield _without_sftp(what, context.transfer_options.engine, error)
    except AsynchyError as error:
        yield DiagnosticResult(what, False, _without_host(context, error), error.hint)
    else:
        found = f"host key and key accepted, version {service.version}"
        yield DiagnosticResult(what, True, found)
        yield DiagnosticResult("round trip", True, f"{service.round_trip * 1000:.1f} ms")
    yield _rsync(context, folders[0], offers_sftp=offers_sftp)
    for folder in folders:
        yield _source(context, folder)


def _without_sftp(what: str, engine: str, error: SftpNotOffered) -> DiagnosticResult:
    if engine == "sftp":
        return DiagnosticResult(
            what, False, str(error), "use `engine: auto`, or ask the facility for SFTP"
        )
    return DiagnosticResult(what, True, f"{error}; rsync takes its place")


def _rsync(context: RunContext, folder: str, *, offers_sftp: bool) -> DiagnosticResult:
    """Whether the server's rsync can be used, if it will be."""
    what = "rsync there"
    engine, chosen = choose(context.transfer_options, offers_sftp=offers_sftp)
    try:
        version = capabilities.rsync_version(context.remote)
        if version is None and engine == "rsync":  # the key may be for rsync alone: rrsync(1)
            runner.list_tree(context.remote, folder, lambda _entry: None, context.stop, deep=False)
    except CommandsNotOffered as error:
        if engine == "sftp":
            return DiagnosticResult(what, True, f"{error}; not needed: {chosen}")
        return DiagnosticResult(what, False, f"{error} ({chosen})", error.hint)
    except AsynchyError as error:
        return DiagnosticResult(what, False, _without_host(context, error), error.hint)
    return DiagnosticResult(what, True, version or "does not report its version")


def _source(context: RunContext, folder: str) -> DiagnosticResult:
    """List a folder that holds experiments, one level deep."""
    names: list[bytes] = []
    what = f"source {folder}"
    try:
        list_experiment(
            context.session,
            folder,
            lambda entry: names.append(entry.path),
            context.stop,
            deep=False,
        )
    except AsynchyError as error:
        return DiagnosticResult(what, False, _without_host(context, error), error.hint)
    return DiagnosticResult(what, True, count(max(0, len(names) - 1), "entry", "entries"))


def _without_host(context: RunContext, error: AsynchyError) -> str:
    return error.message.removeprefix(f"{context.remote.host}: ")


def _destination(settings: Settings) -> Iterator[DiagnosticResult]:
    root = settings.destination_root_path
    if not root.is_dir():
        yield DiagnosticResult(
            "destination", False, f"{root} is not there", "mount it, or correct the config"
        )
        return
    free = free_space(root)
    inodes = "" if free.inodes is None else f", {free.inodes:,} inodes"
    space = "free space not known" if free.bytes is None else f"{size(free.bytes)} free"
    full = 0 in (free.bytes, free.inodes)
    to_do = "make room: nothing can be fetched" if full else None
    yield DiagnosticResult("destination", not full, f"{root}, {space}{inodes}", to_do)
    for project in sorted(set(settings.epn_cap_map.values())):
        size_only = settings.compare == "size"
        yield from _project(root / project, Modes(settings.modes), size_only=size_only)


def _project(folder: Path, modes: Modes, *, size_only: bool) -> Iterator[DiagnosticResult]:
    found = _is_writable(folder)
    yield found
    if found.good:
        for reason, to_do in refusals(folder, modes, size_only=size_only):
            yield DiagnosticResult(f"project {folder.name}", False, f"{folder}: {reason}", to_do)


def _is_writable(folder: Path) -> DiagnosticResult:
    what = f"project {folder.name}"
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return DiagnosticResult(
            what, False, f"{folder}: {error.strerror}", "make it, or correct epn_cap_map"
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return DiagnosticResult(
            what, False, f"{folder} cannot be written", "chmod g+w, or join its group"
        )
    free = free_space(folder)
    if 0 in (free.bytes, free.inodes):
        lacking = "no space is" if free.bytes == 0 else "no inodes are"
        return DiagnosticResult(
            what, False, f"{folder}: {lacking} free", "make room: nothing can be fetched"
        )
    if not mode & stat.S_ISGID:
        hint = f"chmod g+s {folder}, so that all in it belongs to the project's group"
        return DiagnosticResult(what, True, f"{folder} is writable, without the setgid bit", hint)
    return DiagnosticResult(what, True, f"{folder} is writable")


def _ignore_file(settings: Settings) -> Iterator[DiagnosticResult]:
    """It is replaced by a new file beside it, so its folder must be writable, too."""
    path = settings.ignore
    try:
        entries = IgnoreFile(path).read()
    except AsynchyError as error:
        yield _bad("ignore.yml", error)
        return
    problem = unwritable(path, beside=[f".{path.name}.lock"])
    if problem is not None:
        yield DiagnosticResult("ignore.yml", False, *problem)
        return
    number = count(len(entries.epns), "entry", "entries")
    found = number if entries.has_list else "no list yet"
    yield DiagnosticResult("ignore.yml", True, f"{path} can be written, {found}")
    for warning in entries.warnings:
        yield DiagnosticResult("ignore.yml", True, warning)


def _logs(settings: Shared) -> Iterator[DiagnosticResult]:
    """Each file rotates: it is renamed, under a lock beside it."""
    files = settings.log_files
    for name, path in (("sync", files.sync), ("epnalert", files.epnalert), ("email", files.email)):
        if path is None:
            continue
        problem = _log_problem(path)
        if problem is not None:
            yield DiagnosticResult(f"log {name}", False, *problem)
        elif is_pipe(path):
            yield DiagnosticResult(f"log {name}", True, f"{path} is a pipe", _PIPE)
        else:
            yield DiagnosticResult(f"log {name}", True, f"{path} can be written")


_PIPE = "start the program that reads it before asynchy; it was not tried, for that would end it"


def _log_problem(path: Path) -> tuple[str, str] | None:
    """What is wrong with a log, and what to do; None: nothing."""
    if is_pipe(path):
        if os.access(path, os.W_OK, effective_ids=True):
            return None
        return f"{path} cannot be written: no permission", f"chmod g+w {path}"
    try:
        stream = open_stream(path)
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}", "correct `log-files` in the config"
    if stream is not None:
        os.close(stream)
        return None
    return unwritable(path, beside=[f".__{path.name.removesuffix('.log')}.lock"])


def _catalogue_file(settings: Shared) -> Iterator[DiagnosticResult]:
    path = settings.catalogue_path
    kind = network_file_system(path.parent)
    if kind is not None:
        to_do = "set `catalogue` to a path on a local disk"
        yield DiagnosticResult(
            "catalogue", False, f"{path} is on a network file system ({kind})", to_do
        )
        return
    problem = unwritable(path, beside=[f"{path.name}-wal", f"{path.name}-shm"])
    if problem is not None:
        yield DiagnosticResult("catalogue", False, *problem)


def _catalogue(context: RunContext) -> DiagnosticResult:
    known = count(len(context.catalogue.overview.copies()), "copy", "copies")
    return DiagnosticResult("catalogue", True, f"{context.catalogue.path}, {known} known")


def _channels(context: CycleContext) -> Iterator[DiagnosticResult]:
    """Whether the channels can be used, and what waits for them."""
    problems = channel_problems(context.settings)
    for one in problems:
        yield DiagnosticResult(one.what, False, one.found, one.to_do)
    waiting = context.catalogue.outbox.waiting()
    for name in sorted({one.channel for one in waiting}):
        mine = [one for one in waiting if one.channel == name]
        failing = [one for one in mine if one.failing_since is not None]
        number = count(len(mine), "message waits", "messages wait")
        if failing and failing[0].failing_since is not None:
            since = moment(failing[0].failing_since)
            found = f"{number}; it fails since {since}: {escaped(failing[0].error or '')}"
            yield DiagnosticResult(name, False, found, "`asynchy notify test` tries it at once")
        else:
            yield DiagnosticResult(name, True, number)


def _lost(settings: Settings) -> Iterator[DiagnosticResult]:
    """Whether `ignore.yml` or the catalogue is missing; what cannot be used was said before."""
    try:
        error = lost_error(read_state_files(settings, write=False))
    except AsynchyError:
        return
    if error is not None:
        yield _bad("state", error)


def _service(settings: Shared) -> DiagnosticResult:
    none = DiagnosticResult("service", True, "none runs on this catalogue")
    if not lock_file(settings.catalogue_path, "service").exists():
        return none
    try:
        with instance_lock(settings.catalogue_path, "service"):
            return none
    except AlreadyRunning as error:
        return DiagnosticResult("service", True, str(error))


def _skipped(what: str, why: str) -> DiagnosticResult:
    return DiagnosticResult(what, False, why, skipped=True)


def _bad(what: str, error: AsynchyError) -> DiagnosticResult:
    return DiagnosticResult(what, False, str(error), error.hint)
