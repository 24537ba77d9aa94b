"""Whether what is to be written here can be written: our own state, the logs, the projects."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from asynchy.config import Settings, Shared
from asynchy.config.file_access import access_hint, reachable
from asynchy.config.ignore_file import IgnoreFile
from asynchy.errors import AsynchyError
from asynchy.localfs.filesystem import network_file_system
from asynchy.localfs.free_space import free_space
from asynchy.localfs.log_stream import is_pipe, open_stream
from asynchy.localfs.trial import refusals
from asynchy.localfs.writable import unwritable
from asynchy.model.catalogue_address import PostgresAddress
from asynchy.model.diagnostic_result import DiagnosticResult, failed, skipped
from asynchy.model.file_modes import Modes
from asynchy.model.formatting import count, size
from asynchy.model.plan import FreeSpace


def ignore_file(settings: Settings) -> Iterator[DiagnosticResult]:
    """It is replaced by a new file beside it, so its folder must be writable, too."""
    path = settings.ignore
    try:
        entries = IgnoreFile(path).read()
    except AsynchyError as error:
        yield failed("ignore.yml", error)
        return
    problem = unwritable(path, companions=[f".{path.name}.lock"])
    if problem is not None:
        yield DiagnosticResult("ignore.yml", False, *problem)
        return
    number = count(len(entries.epns), "entry", "entries")
    problems = number if entries.has_list else "no list yet"
    yield DiagnosticResult("ignore.yml", True, f"{path} can be written, {problems}")
    for warning in entries.warnings:
        yield DiagnosticResult("ignore.yml", True, warning, "correct or remove the entry")


def logs(settings: Shared) -> Iterator[DiagnosticResult]:
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
    """The problem of a log and the hint; None: it has none."""
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
    return unwritable(path, companions=[f".__{path.name.removesuffix('.log')}.lock"])


def catalogue_file(settings: Shared) -> Iterator[DiagnosticResult]:
    """Why the catalogue cannot be written; empty: it can."""
    path = settings.catalogue_address
    if isinstance(path, PostgresAddress):  # the server is asked afterwards
        return
    kind = network_file_system(path.parent)
    if kind is not None:
        to_do = "set `catalogue` to a path on a local disk"
        yield DiagnosticResult(
            "catalogue", False, f"{path} is on a network file system ({kind})", to_do
        )
        return
    problem = unwritable(path, companions=[f"{path.name}-wal", f"{path.name}-shm"])
    if problem is not None:
        yield DiagnosticResult("catalogue", False, *problem)


_MAKE_ROOM = "make room: nothing can be fetched"


def _lacking(free: FreeSpace) -> str | None:
    """The resource that a file system lacks; None: it has space and inodes, or reports neither."""
    if free.bytes == 0:
        return "no space is free"
    return "no inodes are free" if free.inodes == 0 else None


def state_space(settings: Shared) -> Iterator[DiagnosticResult]:
    """Name each file system without space that a file of our own state, or a log, is on."""
    files = settings.log_files
    paths = [settings.catalogue_path, files.sync, files.epnalert, files.email]
    if isinstance(settings, Settings):
        paths.insert(0, settings.ignore)
    seen = set()
    for path in paths:
        folder = path.resolve().parent if path is not None else None
        if folder is None or not reachable(folder.is_dir):  # that was named before
            continue
        device, free = folder.stat().st_dev, free_space(folder)
        if device not in seen and (lacking := _lacking(free)):
            to_do = "make room: nothing can be noted"
            yield DiagnosticResult("state", False, f"{folder}: {lacking}", to_do)
        seen.add(device)


def destination(settings: Settings) -> Iterator[DiagnosticResult]:
    """Whether the projects are there, with room, and take what a transfer does to files."""
    root = settings.destination_root_path
    projects = sorted(set(settings.epn_cap_map.values()))
    if not reachable(root.is_dir):
        yield DiagnosticResult("destination", False, *_no_destination(root))
        for project in projects:
            yield skipped(f"project {project}", "the destination cannot be used")
        return
    free = free_space(root)
    inodes = "" if free.inodes is None else f", {free.inodes:,} inodes"
    space = "free space not known" if free.bytes is None else f"{size(free.bytes)} free"
    to_do = _MAKE_ROOM if _lacking(free) else None
    yield DiagnosticResult("destination", to_do is None, f"{root}, {space}{inodes}", to_do)
    full = root.stat().st_dev if to_do else None
    for project in projects:
        if full is not None and _device(root / project) == full:
            yield skipped(f"project {project}", "no room, as at the destination")
            continue
        size_only = settings.compare == "size"
        yield from _project(root / project, Modes(settings.modes), size_only=size_only)


def _no_destination(root: Path) -> tuple[str, str]:
    try:
        root.stat()
    except PermissionError as error:
        return f"{root}: {error.strerror}", access_hint(root)
    except OSError:
        pass
    return f"{root} is not there", "mount it, or correct the config"


def _device(folder: Path) -> int | None:
    """The file system of a folder; None: the folder does not exist."""
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _project(folder: Path, modes: Modes, *, size_only: bool) -> Iterator[DiagnosticResult]:
    refusals_ = _is_writable(folder)
    yield refusals_
    if refusals_.good:
        for reason, to_do in refusals(folder, modes, size_only=size_only):
            yield DiagnosticResult(f"project {folder.name}", False, f"{folder}: {reason}", to_do)


def _is_writable(folder: Path) -> DiagnosticResult:
    subject = f"project {folder.name}"
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return DiagnosticResult(
            subject, False, f"{folder}: {error.strerror}", "make it, or correct epn_cap_map"
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return DiagnosticResult(
            subject, False, f"{folder} cannot be written", "chmod g+w, or join its group"
        )
    free = free_space(folder)
    if lacking := _lacking(free):
        return DiagnosticResult(subject, False, f"{folder}: {lacking}", _MAKE_ROOM)
    if not mode & stat.S_ISGID:
        hint = f"chmod g+s {folder}, so that all in it belongs to the project's group"
        return DiagnosticResult(
            subject, True, f"{folder} is writable, without the setgid bit", hint
        )
    return DiagnosticResult(subject, True, f"{folder} is writable")
