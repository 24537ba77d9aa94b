"""Checks the old paths of experiments that were found at other paths."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from asynchy.errors import ExperimentAbsent, ListingError
from asynchy.facility.lister import list_experiment
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind
from asynchy.model.relocation import OldPlace
from asynchy.ssh.rsync import runner
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession
from asynchy.ssh.sftp.protocol import Answer, Names, real_path

log = logging.getLogger(__name__)

_IN_FLIGHT = 1000
"""Paths that are asked about at a time over SFTP."""
_MAX_LINKS = 40
"""Symbolic links on the way to a folder; a longer way leads in a circle."""

_PLAIN = re.compile(r"[A-Za-z0-9_.@+,=-]+", re.ASCII)
"""Names that a shell at the other end takes as they are."""
_UNKNOWN = b""
"""The name under which something is noted in a folder that cannot be listed."""


def check_old_places(
    session: ServerSession, paths: Mapping[str, str], stop: Stop
) -> dict[str, OldPlace]:
    """The state of each old path; `paths`: old path -> the path at which the experiment was found.

    Paths with a symbolic link anywhere on the way are compared by where they lead. A link in the
    place of the old folder that leads elsewhere does not count as a folder.

    Raises:
        ListingError: the connection could not be made, or broke off.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    kinds = {path: kind for path, kind in _kinds(session, paths, stop).items() if kind is not None}
    states = dict.fromkeys(paths, OldPlace.GONE)
    if not kinds:
        return states
    real = _real_paths(session, {*kinds, *(paths[path] for path in kinds)}, stop)
    for path, kind in kinds.items():
        if real[path] == real[paths[path]]:
            states[path] = OldPlace.SAME
        elif kind is EntryKind.FOLDER:
            states[path] = OldPlace.OTHER
    return states


def _kinds(
    session: ServerSession, paths: Collection[str], stop: Stop
) -> dict[str, EntryKind | None]:
    """The kind of entry at each path; a folder, if the folder above it cannot be listed."""
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[path.rpartition("/")[0]].append(path)
    kind_of: dict[str, EntryKind | None] = {}
    for folder, folder_paths in by_folder.items():
        kinds = _kinds_in(session, folder or "/", stop)
        for path in folder_paths:
            kind_of[path] = kinds.get(path.rpartition("/")[2].encode(), kinds.get(_UNKNOWN))
    return kind_of


def _kinds_in(session: ServerSession, folder: str, stop: Stop) -> dict[bytes, EntryKind]:
    kinds: dict[bytes, EntryKind] = {}

    def on_entry(entry: Entry) -> None:
        kinds[entry.path] = entry.kind

    try:
        list_experiment(session, folder, on_entry, stop, deep=False)
    except ExperimentAbsent:
        return {}
    except ListingError as error:
        log.warning("%s cannot be listed to see what was moved: %s", folder, error)
        kinds[_UNKNOWN] = EntryKind.FOLDER
    return kinds


def _real_paths(session: ServerSession, paths: Collection[str], stop: Stop) -> dict[str, str]:
    """The paths without symbolic links; unchanged if the server does not report them."""
    if session.facts.offers_sftp:
        return _real_by_sftp(session, sorted(paths), stop)
    folders = {path.rpartition("/")[0] for path in paths}
    real = {folder: _real_by_rsync(session.server, folder, stop) for folder in folders}
    return {path: f"{real[path.rpartition('/')[0]]}/{path.rpartition('/')[2]}" for path in paths}


def _real_by_sftp(session: ServerSession, paths: Sequence[str], stop: Stop) -> dict[str, str]:
    real = {path: path for path in paths}

    def about(path: str) -> Callable[[int], bytes]:
        return lambda number: real_path(number, os.fsencode(path))

    def answer_handler(path: str) -> Callable[[Answer], None]:
        def on_answer(answer: Answer) -> None:
            if isinstance(answer, Names) and len(answer.names) == 1:
                real[path] = os.fsdecode(answer.names[0].name)

        return on_answer

    with session.connection(stop) as connection:
        for begin in range(0, len(paths), _IN_FLIGHT):
            for path in paths[begin : begin + _IN_FLIGHT]:
                connection.ask(about(path), answer_handler(path))
            connection.run()
    return real


def _real_by_rsync(remote: Server, folder: str, stop: Stop) -> str:
    """Where a folder is, by following the links on the way to it one by one."""
    resolved, remaining, links = "", folder.split("/"), 0
    while remaining:
        name = remaining.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            resolved = resolved.rpartition("/")[0]
            continue
        if _PLAIN.fullmatch(name) is None:
            return folder
        target = _target_by_rsync(remote, resolved or "/", os.fsencode(name), stop)
        links += target is not None
        if target is None or links > _MAX_LINKS:
            resolved = f"{resolved}/{name}"
        else:
            resolved = "" if target.startswith("/") else resolved
            remaining = [*target.split("/"), *remaining]
    return resolved


def _target_by_rsync(remote: Server, folder: str, name: bytes, stop: Stop) -> str | None:
    """The target of a symbolic link; None: it is not a link, or the server does not report it."""
    try:
        entry = runner.list_named(remote, folder, [name], stop, follow=False).get(name)
    except ListingError:
        return None
    if entry is None or entry.kind is not EntryKind.SYMLINK or not entry.target:
        return None
    return os.fsdecode(entry.target)
