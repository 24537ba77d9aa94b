"""Symbolic links in the place of a folder at the facility: where they point to, and lead to.

SFTP has one status code for a link that leads to nothing, one with a part of the path that is not a
folder, and links that point to each other (OpenSSH's sftp-server.c, `errno_to_portable`).
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
"""Links that are asked about at a time over SFTP: a server may list a million."""
_BATCH_LINKS = 200
"""Links for one rsync: the remote shell takes a command of 128 KiB at most."""


@dataclass(frozen=True)
class Followed:
    """Where a symbolic link leads."""

    target: str | None
    """Its target, escaped; None: the server does not report it."""
    problem: str | None
    """Why it does not lead to a folder, with the target; None: it does."""


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
        return _follow_links(connection, folder, names)


def _follow_links(
    connection: Connection, folder: str, names: Sequence[bytes]
) -> dict[bytes, Followed]:
    followed: dict[bytes, Followed] = {}

    def begin(name: bytes) -> None:
        path = folder.encode() + b"/" + name

        def on_answers(answers: Sequence[Answer]) -> None:
            followed[name] = _followed(*answers)

        _ask(connection, [_about(follow, path), _about(read_link, path)], on_answers)

    for begin_at in range(0, len(names), _IN_FLIGHT):
        for name in names[begin_at : begin_at + _IN_FLIGHT]:
            begin(name)
        connection.run()
    return followed


def follow_by_rsync(
    session: ServerSession, folder: str, names: Sequence[bytes], stop: Stop
) -> dict[bytes, Followed]:
    """The same without SFTP, by two runs of rsync for 200 links; one that is gone is left out.

    If the server allows only some paths (rrsync), further runs find the links that lead out of
    them.

    Raises:
        ListingError: it could not be asked.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    followed: dict[bytes, Followed] = {}
    for begin in range(0, len(names), _BATCH_LINKS):
        followed |= _batch_by_rsync(
            session.server, folder, names[begin : begin + _BATCH_LINKS], stop
        )
    return followed


def _batch_by_rsync(
    remote: Server, folder: str, names: Sequence[bytes], stop: Stop
) -> dict[bytes, Followed]:
    try:
        links = runner.list_named(remote, folder, names, stop, follow=False)
        ends = runner.list_named(remote, folder, names, stop, follow=True)
    except ListingRefused:  # for the sake of one of them
        if len(names) == 1:
            return {names[0]: Followed(None, f"{_link_to(None)} that may not be followed")}
        middle = len(names) // 2
        followed = _batch_by_rsync(remote, folder, names[:middle], stop)
        return followed | _batch_by_rsync(remote, folder, names[middle:], stop)
    followed = {}
    for name, end in ends.items():
        target = _target_text(links[name].target if name in links else end.target)
        problem = None
        if end.kind is not EntryKind.FOLDER:
            problem = f"{_link_to(target)}, which leads to no folder that can be read"
        followed[name] = Followed(target, problem)
    return followed


def explain_absence(
    connection: Connection, path: bytes, on_reason: Callable[[str | None], None]
) -> None:
    """Look again at a folder that the server calls absent, and at all folders above it.

    `on_reason` gets the reason if there is something all the same: a link that does not lead to a
    folder, in its own place or above it, or something else. None: there is nothing.
    """
    paths = [path]
    while parent := paths[-1].rpartition(b"/")[0]:
        paths.append(parent)
    requests = [_about(ask, folder) for folder in paths for ask in (lstat, follow, read_link)]

    def on_answers(answers: Sequence[Answer]) -> None:
        for index, folder in enumerate(paths):
            entry, behind, target = answers[3 * index : 3 * index + 3]
            if not _is_absent(entry):
                problem = _folder_problem(entry, behind, target)
                on_reason(_absence_reason(escaped(folder), problem, itself=folder == path))
                return
        on_reason(None)

    _ask(connection, requests, on_answers)


def explain_absence_by_rsync(remote: Server, path: str, stop: Stop) -> str | None:
    """The same without SFTP, one place after the other.

    Raises:
        ListingError: it could not be asked.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    folder = path
    while folder:
        parent, _, base_name = folder.rpartition("/")
        name = base_name.encode()
        entry = runner.list_named(remote, parent, [name], stop, follow=True).get(name)
        if entry is not None:
            problem = None
            if entry.kind is EntryKind.SYMLINK:
                problem = f"{_link_to(_target_text(entry.target))}, which leads to no folder"
            elif entry.kind is not EntryKind.FOLDER:
                problem = "it is not a folder"
            return _absence_reason(folder, problem, itself=folder == path)
        folder = parent
    return None


def _absence_reason(folder: str, problem: str | None, *, itself: bool) -> str | None:
    """Why a folder could not be listed: the problem with it or with a folder above it."""
    if itself:
        return problem or "it was not there a moment ago"
    return None if problem is None else f"because of {folder}: {problem}"


def _ask(
    connection: Connection,
    requests: Sequence[Request],
    on_answers: Callable[[Sequence[Answer]], None],
) -> None:
    """Send several requests at once; `on_answers` gets all answers, in the same order."""
    answers: dict[int, Answer] = {}

    def begin(index: int, request: Request) -> None:
        def on_answer(answer: Answer) -> None:
            answers[index] = answer
            if len(answers) == len(requests):
                on_answers([answers[number] for number in range(len(requests))])

        connection.ask(request, on_answer)

    for index, request in enumerate(requests):
        begin(index, request)


def _about(ask: Callable[[int, bytes], bytes], path: bytes) -> Request:
    return lambda number: ask(number, path)


def _followed(behind: Answer, pointing: Answer) -> Followed:
    target = _target(pointing)
    problem = _link_problem(behind)
    return Followed(target, None if problem is None else f"{_link_to(target)}, {problem}")


def _link_problem(behind: Answer) -> str | None:
    """Why a link does not lead to a folder, by the answer about its target; None: it does."""
    if isinstance(behind, Attributes):
        if behind.mode is None:
            return "whose kind the server does not report"
        return None if stat.S_ISDIR(behind.mode) else "which is not a folder"
    if not isinstance(behind, Status):
        raise ProtocolError(f"{type(behind).__name__} in answer to STAT")
    match behind.code:
        case Code.NO_SUCH_FILE:
            return "which does not exist, or leads in a circle"
        case Code.PERMISSION_DENIED:
            return "which may not be read (EACCES)"
    return f"which cannot be followed: {escaped(behind.message, limit=200)} ({behind.code})"


def _folder_problem(entry: Answer, behind: Answer, pointing: Answer) -> str | None:
    """The problem with an entry that is not a folder; None: it is one."""
    if isinstance(entry, Attributes):
        if entry.mode is not None and stat.S_ISDIR(entry.mode):
            return None
        if entry.mode is not None and not stat.S_ISLNK(entry.mode):
            return "it is not a folder"
        return _followed(behind, pointing).problem
    if not isinstance(entry, Status):
        raise ProtocolError(f"{type(entry).__name__} in answer to LSTAT")
    if entry.code == Code.PERMISSION_DENIED:
        return "it may not be read (EACCES)"
    return f"the server does not report whether it exists: {escaped(entry.message, limit=200)}"


def _is_absent(entry: Answer) -> bool:
    return isinstance(entry, Status) and entry.code == Code.NO_SUCH_FILE


def _target(pointing: Answer) -> str | None:
    if isinstance(pointing, Names) and len(pointing.names) == 1:
        return _target_text(pointing.names[0].name)
    return None


def _target_text(target: bytes | None) -> str | None:
    return None if target is None else escaped(target)


def _link_to(target: str | None) -> str:
    return "it is a symbolic link" if target is None else f"it is a symbolic link to {target}"
