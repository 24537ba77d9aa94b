"""What is at the paths at which experiments were known, once they were found at others."""

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


def look_at_old_places(
    session: ServerSession, paths: Mapping[str, str], stop: Stop
) -> dict[str, OldPlace]:
    """What is at each old path; its value is the path at which the experiment was found.

    Paths with a symbolic link anywhere on the way are compared by where they lead. A link in the
    place of the old folder itself that leads elsewhere is no folder of its own.

    Raises:
        ListingError: the connection could not be made, or broke off.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    kinds = {path: kind for path, kind in _kinds(session, paths, stop).items() if kind is not None}
    made = dict.fromkeys(paths, OldPlace.GONE)
    if not kinds:
        return made
    real = _real_paths(session, {*kinds, *(paths[path] for path in kinds)}, stop)
    for path, kind in kinds.items():
        if real[path] == real[paths[path]]:
            made[path] = OldPlace.SAME
        elif kind is EntryKind.FOLDER:
            made[path] = OldPlace.OTHER
    return made


def _kinds(
    session: ServerSession, paths: Collection[str], stop: Stop
) -> dict[str, EntryKind | None]:
    """What is at each path; if the folder above it cannot be listed, it may be a folder."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        below[path.rpartition("/")[0]].append(path)
    found: dict[str, EntryKind | None] = {}
    for folder, mine in below.items():
        kinds = _kinds_in(session, folder or "/", stop)
        for path in mine:
            found[path] = kinds.get(path.rpartition("/")[2].encode(), kinds.get(_UNKNOWN))
    return found


def _kinds_in(session: ServerSession, folder: str, stop: Stop) -> dict[bytes, EntryKind]:
    kinds: dict[bytes, EntryKind] = {}

    def hear(entry: Entry) -> None:
        kinds[entry.path] = entry.kind

    try:
        list_experiment(session, folder, hear, stop, deep=False)
    except ExperimentAbsent:
        return {}
    except ListingError as error:
        log.warning("%s cannot be listed to see what was moved: %s", folder, error)
        kinds[_UNKNOWN] = EntryKind.FOLDER
    return kinds


def _real_paths(session: ServerSession, paths: Collection[str], stop: Stop) -> dict[str, str]:
    """The paths without symbolic links; as it is, where the server does not tell."""
    if session.facts.offers_sftp:
        return _real_by_sftp(session, sorted(paths), stop)
    folders = {path.rpartition("/")[0] for path in paths}
    real = {folder: _real_by_rsync(session.server, folder, stop) for folder in folders}
    return {path: f"{real[path.rpartition('/')[0]]}/{path.rpartition('/')[2]}" for path in paths}


def _real_by_sftp(session: ServerSession, paths: Sequence[str], stop: Stop) -> dict[str, str]:
    found = {path: path for path in paths}

    def about(path: str) -> Callable[[int], bytes]:
        return lambda number: real_path(number, os.fsencode(path))

    def hear(path: str) -> Callable[[Answer], None]:
        def take(answer: Answer) -> None:
            if isinstance(answer, Names) and len(answer.names) == 1:
                found[path] = os.fsdecode(answer.names[0].name)

        return take

    with session.connection(stop) as connection:
        for at in range(0, len(paths), _IN_FLIGHT):
            for path in paths[at : at + _IN_FLIGHT]:
                connection.ask(about(path), hear(path))
            connection.run()
    return found


def _real_by_rsync(remote: Server, folder: str, stop: Stop) -> str:
    """Where a folder is, by following the links on the way to it one by one."""
    done, left, links = "", folder.split("/"), 0
    while left:
        name = left.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        if _PLAIN.fullmatch(name) is None:
            return folder
        target = _target_by_rsync(remote, done or "/", os.fsencode(name), stop)
        links += target is not None
        if target is None or links > _MAX_LINKS:
            done = f"{done}/{name}"
        else:
            done = "" if target.startswith("/") else done
            left = [*target.split("/"), *left]
    return done


def _target_by_rsync(remote: Server, folder: str, name: bytes, stop: Stop) -> str | None:
    """Where a symbolic link points to; None: it is none, or the server does not tell."""
    try:
        found = runner.list_named(remote, folder, [name], stop, follow=False).get(name)
    except ListingError:
        return None
    if found is None or found.kind is not EntryKind.SYMLINK or not found.target:
        return None
    return os.fsdecode(found.target)
