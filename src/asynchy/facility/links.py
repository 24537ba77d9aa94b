"""Symbolic links in the place of a folder at the facility: where they point to, and lead to.

Over SFTP: what a STATUS tells of a link that cannot be followed is one code for all of "nothing is
there", "a part of the path is no folder" and "links that point to each other" (OpenSSH's
sftp-server.c, `errno_to_portable`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asynchy.errors import ListingRefused
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import EntryKind
from asynchy.model.formatting import escaped
from asynchy.ssh.rsync import runner
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession
from asynchy.ssh.sftp.connection import Connection, Request
from asynchy.ssh.sftp.protocol import (
    Answer,
    Attributes,
    Code,
    Names,
    ProtocolError,
    Status,
    follow,
    lstat,
    read_link,
)

_IN_FLIGHT = 1000
"""Links that are asked about at a time over SFTP: a server may tell of a million."""
_BATCH_LINKS = 200
"""Links that one rsync looks at: a shell at the other end takes a command of 128 KiB at most."""


@dataclass(frozen=True)
class Followed:
    """Where a symbolic link leads."""

    target: str | None
    """What it points to, fit to be read; None: the server does not report."""
    problem: str | None
    """Why it leads to no folder, with the target; None: it leads to one."""


def follow_by_sftp(
    session: ServerSession, folder: str, names: Sequence[bytes], stop: Stop
) -> dict[bytes, Followed]:
    """Follow symbolic links of one folder, a thousand in a round trip.

    Raises:
        ListingError: the connection could not be made, or broke off.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    with session.connection(stop) as connection:
        return _over(connection, folder, names)


def _over(connection: Connection, folder: str, names: Sequence[bytes]) -> dict[bytes, Followed]:
    found: dict[bytes, Followed] = {}

    def begin(name: bytes) -> None:
        path = folder.encode() + b"/" + name

        def hear(answers: Sequence[Answer]) -> None:
            found[name] = _followed(*answers)

        _ask(connection, [_about(follow, path), _about(read_link, path)], hear)

    for at in range(0, len(names), _IN_FLIGHT):
        for name in names[at : at + _IN_FLIGHT]:
            begin(name)
        connection.run()
    return found


def follow_by_rsync(
    session: ServerSession, folder: str, names: Sequence[bytes], stop: Stop
) -> dict[bytes, Followed]:
    """The same without SFTP, by two runs of rsync for 200 links; one that is gone is left out.

    Where the server lets only a part be read (rrsync), further runs find what leads out of it.

    Raises:
        ListingError: it could not be asked.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    found: dict[bytes, Followed] = {}
    for begin in range(0, len(names), _BATCH_LINKS):
        found |= _batch_by_rsync(session.server, folder, names[begin : begin + _BATCH_LINKS], stop)
    return found


def _batch_by_rsync(
    remote: Server, folder: str, names: Sequence[bytes], stop: Stop
) -> dict[bytes, Followed]:
    try:
        links = runner.list_named(remote, folder, names, stop, follow=False)
        ends = runner.list_named(remote, folder, names, stop, follow=True)
    except ListingRefused:  # for the sake of one of them
        if len(names) == 1:
            return {names[0]: Followed(None, f"{_link_to(None)} that may not be followed")}
        half = len(names) // 2
        first = _batch_by_rsync(remote, folder, names[:half], stop)
        return first | _batch_by_rsync(remote, folder, names[half:], stop)
    found = {}
    for name, end in ends.items():
        target = _told(links[name].target if name in links else end.target)
        problem = None
        if end.kind is not EntryKind.FOLDER:
            problem = f"{_link_to(target)}, which leads to no folder that can be read"
        found[name] = Followed(target, problem)
    return found


def explain_absence(
    connection: Connection, path: bytes, then: Callable[[str | None], None]
) -> None:
    """Look again at a folder that the server calls absent, and at all folders above it.

    `then` gets why it cannot be listed where something is there all the same: a link that leads to
    no folder, in its own place or above it, or something else. None: nothing is there.
    """
    places = [path]
    while above := places[-1].rpartition(b"/")[0]:
        places.append(above)
    requests = [_about(ask, place) for place in places for ask in (lstat, follow, read_link)]

    def hear(answers: Sequence[Answer]) -> None:
        for at, place in enumerate(places):
            own, behind, target = answers[3 * at : 3 * at + 3]
            if not _is_absent(own):
                problem = _what_is_wrong(own, behind, target)
                then(_why(escaped(place), problem, itself=place == path))
                return
        then(None)

    _ask(connection, requests, hear)


def explain_absence_by_rsync(remote: Server, path: str, stop: Stop) -> str | None:
    """The same without SFTP, one place after the other.

    Raises:
        ListingError: it could not be asked.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    place = path
    while place:
        above, _, own = place.rpartition("/")
        name = own.encode()
        there = runner.list_named(remote, above, [name], stop, follow=True).get(name)
        if there is not None:
            problem = None
            if there.kind is EntryKind.SYMLINK:
                problem = f"{_link_to(_told(there.target))}, which leads to no folder"
            elif there.kind is not EntryKind.FOLDER:
                problem = "it is not a folder"
            return _why(place, problem, itself=place == path)
        place = above
    return None


def _why(place: str, problem: str | None, *, itself: bool) -> str | None:
    """Why a folder could not be listed, by what is wrong with it or with one above it."""
    if itself:
        return problem or "it was not there a moment ago"
    return None if problem is None else f"because of {place}: {problem}"


def _ask(
    connection: Connection,
    requests: Sequence[Request],
    then: Callable[[Sequence[Answer]], None],
) -> None:
    """Ask several questions at once; `then` gets all answers, in the order of the questions."""
    answers: dict[int, Answer] = {}

    def begin(at: int, request: Request) -> None:
        def hear(answer: Answer) -> None:
            answers[at] = answer
            if len(answers) == len(requests):
                then([answers[number] for number in range(len(requests))])

        connection.ask(request, hear)

    for at, request in enumerate(requests):
        begin(at, request)


def _about(ask: Callable[[int, bytes], bytes], path: bytes) -> Request:
    return lambda number: ask(number, path)


def _followed(behind: Answer, pointing: Answer) -> Followed:
    target = _target(pointing)
    problem = _trouble(behind)
    return Followed(target, None if problem is None else f"{_link_to(target)}, {problem}")


def _trouble(behind: Answer) -> str | None:
    """Why a link leads to no folder, by what is told of what is behind it; None: it does."""
    if isinstance(behind, Attributes):
        if behind.mode is None:
            return "of which the server does not say what it is"
        return None if stat.S_ISDIR(behind.mode) else "which is not a folder"
    if not isinstance(behind, Status):
        raise ProtocolError(f"{type(behind).__name__} in answer to STAT")
    match behind.code:
        case Code.NO_SUCH_FILE:
            return "which does not exist, or leads in a circle"
        case Code.PERMISSION_DENIED:
            return "which may not be read (EACCES)"
    return f"which cannot be followed: {escaped(behind.message, limit=200)} ({behind.code})"


def _what_is_wrong(own: Answer, behind: Answer, pointing: Answer) -> str | None:
    """Why there is no folder in a place where there is something; None: there is one."""
    if isinstance(own, Attributes):
        if own.mode is not None and stat.S_ISDIR(own.mode):
            return None
        if own.mode is not None and not stat.S_ISLNK(own.mode):
            return "it is not a folder"
        return _followed(behind, pointing).problem
    if not isinstance(own, Status):
        raise ProtocolError(f"{type(own).__name__} in answer to LSTAT")
    if own.code == Code.PERMISSION_DENIED:
        return "it may not be looked at (EACCES)"
    return f"the server does not say whether it is there: {escaped(own.message, limit=200)}"


def _is_absent(own: Answer) -> bool:
    return isinstance(own, Status) and own.code == Code.NO_SUCH_FILE


def _target(pointing: Answer) -> str | None:
    if isinstance(pointing, Names) and len(pointing.names) == 1:
        return _told(pointing.names[0].name)
    return None


def _told(target: bytes | None) -> str | None:
    return None if target is None else escaped(target)


def _link_to(target: str | None) -> str:
    return "it is a symbolic link" if target is None else f"it is a symbolic link to {target}"
