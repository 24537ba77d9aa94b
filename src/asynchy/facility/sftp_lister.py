"""Trees at the facility, listed over SFTP: many folders in flight, over several connections."""

from __future__ import annotations

import functools
import logging
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from asynchy.errors import MAY_NOT_BE_READ, AsynchyError, Stopped
from asynchy.facility import links
from asynchy.facility.folder_queue import MAY_HIDE, Folder, FolderError, FolderQueue
from asynchy.facility.sftp_times import told_time
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind
from asynchy.model.formatting import escaped
from asynchy.model.listing_limits import check_name
from asynchy.model.remote_names import is_name, is_wanted
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession
from asynchy.ssh.sftp.connection import Connection
from asynchy.ssh.sftp.protocol import (
    Answer,
    Code,
    Handle,
    Name,
    Names,
    ProtocolError,
    Status,
    close,
    is_failure,
    lstat,
    open_folder,
    read_folder,
)

log = logging.getLogger(__name__)

MAX_OPEN_FOLDERS = 1000
"""Folders that are open at a time on one connection, if the server allows it: OpenSSH's takes as
many as it may open files, by default 1024 less a few (docs/decisions/0012).
"""
MAX_DEPTH = 128
"""Levels of folders; symbolic links are not followed, so only a broken server has more."""
_READ_AHEAD = 2
"""READDIRs that are asked for before the answer to the first is there. Each answer with entries
(100 at most, from OpenSSH) asks for two more, so that a large folder takes few round trips."""
_MAX_READ_AHEAD = 64
_MAX_EMPTY_ANSWERS = 100
"""Answers in a row about a folder that name nothing; some servers end a folder with one."""
_MIN_OPEN_FOLDERS = 16
"""Folders that are open at a time on a server that can open no more."""
_IDLE_WAIT = 0.05  # seconds
_NO_SEARCH = "its entries cannot be read (no x permission)"
"""OpenSSH's server leaves out each entry that it cannot read, `.` too, and reports no error."""
_NOT_READ = "the server could not read it, and did not report why"
"""OpenSSH's server reports an error in the middle of a folder as its end."""
_RESERVED_HANDLES = 8
"""Handles that are left for the server's own use, if it reports how many there are."""


class Handler(Protocol):
    """Receives the entries. Called from several threads if there are several connections."""

    def enters(self, path: bytes) -> bool:
        """Whether a folder that was found is listed, too."""

    def top(self, folder: Folder, entry: Entry) -> None:
        """The tree's own folder (`.`), if the server reports it."""

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        """Some entries of a folder; their paths are within the tree."""

    def ended(self, folder: Folder) -> None:
        """There are no more entries in a folder; its folders are listed later, or already."""

    def failed(self, folder: Folder, refused: FolderError) -> None:
        """A folder could not be listed, or not completely."""


def crawl(  # noqa: PLR0913 - where, what, and with how much
    session: ServerSession,
    start: Iterable[Folder],
    handler: Handler,
    stop: Stop,
    *,
    connections: int = 1,
    dot_files: bool = False,
) -> None:
    """List folders and everything below them that the handler wants.

    A folder of `start` may be a symbolic link to one; those below it are not followed.
    Dot files and folders, save `.info`, are handed over as such, and not entered, unless
    `dot_files`. Depth first, and a folder of `start` is taken once nothing else waits, so that few
    folders wait at a time. A further connection is made for each second that it goes on; a failure
    to connect is only logged.

    Raises:
        ListingError: the first connection could not be made, or one broke off.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    queue = FolderQueue(iter(start), session.server.entries)
    lister = functools.partial(_Lister, queue=queue, handler=handler, dot_files=dot_files)
    connecting = stop.child()  # a helper that still connects when nothing is left gives up
    args = session.server, queue, lister, stop, connecting
    with session.connection(stop) as connection:
        helpers = [
            threading.Thread(target=_help, args=(*args, delay), daemon=True)
            for delay in range(1, connections)
        ]
        for helper in helpers:
            helper.start()
        try:
            lister(connection).run()
        except BaseException as error:
            queue.fail(error)
            raise
        finally:
            connecting.request()
            for helper in helpers:
                helper.join()
    if queue.error is not None:
        raise queue.error


def _help(  # noqa: PLR0913, PLR0917 - two requests to stop: of all, and of connecting
    remote: Server,
    queue: FolderQueue,
    lister: Callable[[Connection], _Lister],
    stop: Stop,
    connecting: Stop,
    delay: float,
) -> None:
    if connecting.wait(delay):
        return
    try:
        with Connection(remote, connecting, listing=True) as connection:
            connection.use(stop)
            try:
                lister(connection).run()
            except BaseException as error:  # noqa: BLE001 - raised again in `crawl`
                queue.fail(error)
    except Stopped as error:
        if stop.requested:
            queue.fail(error)
    except AsynchyError as error:
        log.info("a further connection could not be made: %s", error)


class _Lister:
    """Lists what is in the queue with one connection."""

    def __init__(
        self,
        connection: Connection,
        queue: FolderQueue,
        handler: Handler,
        *,
        dot_files: bool = False,
    ) -> None:
        self.connection = connection
        self.dot_files = dot_files
        self.queue = queue
        self.handler = handler
        self.began = time.time()
        self.open = 0
        """Folders that are being listed."""
        self.unfinished: list[_Listing] = []
        """Folders of which entries came in this turn, and perhaps the end, too."""
        self._postponed: list[Folder] = []
        handles = connection.limits.handles
        self._max_open = (
            min(MAX_OPEN_FOLDERS, handles - _RESERVED_HANDLES)
            if handles > _RESERVED_HANDLES
            else MAX_OPEN_FOLDERS
        )

    def run(self) -> None:
        idle = threading.Event()
        while not self.queue.finished:
            while self.open < self._max_open and (folder := self.queue.take()) is not None:
                self._begin(folder)
            if self.connection.in_flight:
                self.connection.turn()
                for listing in self.unfinished:
                    listing.read_ahead()
                self.unfinished.clear()
            elif self._postponed:  # alone, so that it is not for the others
                self._begin(self._postponed.pop(), last_try=True)
            else:  # the others may find more
                idle.wait(_IDLE_WAIT)

    def _begin(self, folder: Folder, *, last_try: bool = False) -> None:
        self.open += 1
        _Listing(self, folder, None if last_try else self._max_open).begin()

    def not_opened(self, folder: Folder, max_open: int) -> None:
        """The server could not open a folder while up to `max_open` were open."""
        self.open -= 1
        if max_open == self._max_open == _MIN_OPEN_FOLDERS:
            self._postponed.append(folder)
            return
        if max_open == self._max_open:
            self._max_open = max(_MIN_OPEN_FOLDERS, max_open // 2)
        self.queue.put([folder])
        self.queue.done()

    def settled(self) -> None:
        """A folder has been listed, or could not be."""
        self.open -= 1
        self.queue.done()


class _Listing:
    """One folder: opened, read, closed."""

    def __init__(self, lister: _Lister, folder: Folder, max_open: int | None) -> None:
        self._lister = lister
        self._folder = folder
        self._max_open = max_open
        self._handle = b""
        self._pending_reads = 0
        self._barren = 0
        self._at_end = False
        self._has_names = self._has_dot_entry = False
        self._refused: FolderError | None = None

    def begin(self) -> None:
        path = self._folder.full
        try:  # of an endless tree, waiting folders are not listed either
            self._lister.queue.admit(self._folder.tag, ())
        except ValueError as error:
            self._refused = FolderError(str(error))
            self._finish()
            return
        self._lister.connection.ask(lambda number: open_folder(number, path), self._opened)

    def _opened(self, answer: Answer) -> None:
        if isinstance(answer, Handle):
            self._handle = answer.handle
            self.read_ahead()
        elif is_failure(answer) and self._max_open is not None:  # EMFILE has no code of its own
            self._lister.not_opened(self._folder, self._max_open)
        else:
            self._refused = _refusal(answer)
            if self._refused.absent and self._folder.path == b".":
                links.explain_absence(self._lister.connection, self._folder.full, self._explained)
            else:
                self._finish()

    def _explained(self, problem: str | None) -> None:
        """A tree's own folder is absent, unless something else is in its place."""
        if problem is not None:
            self._refused = FolderError(problem, replaced=True)
        self._finish()

    def read_ahead(self) -> None:
        """Ask for further entries, unless the end has come; answers may overtake one another."""
        if self._at_end:
            return
        for _ in range(min(_READ_AHEAD, _MAX_READ_AHEAD - self._pending_reads)):
            self._pending_reads += 1
            self._lister.connection.ask(
                lambda number: read_folder(number, self._handle), self._read_answered
            )

    def _read_answered(self, answer: Answer) -> None:
        self._pending_reads -= 1
        if isinstance(answer, Names):
            self._hand_over(answer)
            self._lister.unfinished.append(self)
        else:
            self._at_end = True
            if not (isinstance(answer, Status) and answer.code == Code.EOF):
                self._refused = self._refused or _refusal(answer)
        if self._at_end and not self._pending_reads:  # answers may come in any order
            handle = self._handle
            self._lister.connection.ask(lambda number: close(number, handle), lambda answer: None)
            if self._has_dot_entry or (self._has_names and not self._lister.queue.name_themselves):
                self._finish()
            else:
                itself = self._folder.full + b"/."
                connection = self._lister.connection
                connection.ask(lambda number: lstat(number, itself), self._checked_itself)

    def _checked_itself(self, answer: Answer) -> None:
        """A folder without an entry `.` is empty, or its names were withheld."""
        denied = isinstance(answer, Status) and answer.code == Code.PERMISSION_DENIED
        if denied or self._lister.queue.name_themselves:
            reason = _NO_SEARCH if denied else _NOT_READ
            self._refused = self._refused or FolderError(reason, alone=True)
        self._finish()

    def _hand_over(self, answer: Names) -> None:
        entries = []
        self._barren += 1
        self._has_names |= bool(answer.names)
        for name in answer.names:
            if name.name == b".":
                self._has_dot_entry = self._lister.queue.name_themselves = True
                if self._folder.path == b".":
                    self._hand_over_top(name)
            if name.name in (b".", b".."):
                continue
            self._barren = 0
            if self._folder.is_too_long(name.name):  # `_settle` reports the folder
                continue
            entry = self._entry(name)
            if entry is not None:
                entries.append(entry)
        try:
            if self._barren > _MAX_EMPTY_ANSWERS:
                raise ValueError("a folder that goes on without naming anything")
            self._lister.queue.admit(self._folder.tag, entries)
        except ValueError as error:
            self._refused = self._refused or FolderError(str(error))
            self._at_end = True
            return
        self._lister.handler.entries(self._folder, entries)
        handler, tag, root = self._lister.handler, self._folder.tag, self._folder.root
        folders = [entry.path for entry in entries if entry.kind is EntryKind.FOLDER]
        self._lister.queue.put(Folder(tag, root, path) for path in folders if handler.enters(path))

    def _entry(self, name: Name) -> Entry | None:
        """The entry for a name; None: it cannot be used, and the folder is refused."""
        try:
            return _entry(self._folder, name, self._lister)
        except ValueError as error:
            is_alone = isinstance(error, _UnreportedKindError)
            if self._refused is None or (self._refused.alone and not is_alone):
                self._refused = FolderError(str(error), alone=is_alone, to_do=_LOOK_AT_IT)
        return None

    def _hand_over_top(self, name: Name) -> None:
        attributes = name.attributes
        if attributes.mode is not None and attributes.modified is not None:
            modified = told_time(attributes.modified, name.name, name.line, self._lister.began)
            entry = Entry(EntryKind.FOLDER, b".", 0, modified, stat.S_IMODE(attributes.mode))
            self._lister.handler.top(self._folder, entry)

    def _finish(self) -> None:
        if self._folder.may_hide_entries:
            self._refused = self._refused or MAY_HIDE
        if self._refused is None:
            self._lister.handler.ended(self._folder)
        else:
            self._lister.handler.failed(self._folder, self._refused)
        self._lister.settled()


def _refusal(answer: Answer) -> FolderError:
    if not isinstance(answer, Status):
        raise ProtocolError(f"{type(answer).__name__} in answer to a question about a folder")
    match answer.code:
        case Code.NO_SUCH_FILE:
            return FolderError("there is no such folder", absent=True, alone=True)
        case Code.PERMISSION_DENIED:
            return FolderError(MAY_NOT_BE_READ, alone=True)
    message = f"the server reports: {escaped(answer.message, limit=200)} ({answer.code})"
    return FolderError(message, alone=True)


_LOOK_AT_IT = "ask the facility whether its storage can read it"


class _UnreportedKindError(ValueError):
    """A server named an entry without its kind."""


def _entry(folder: Folder, name: Name, lister: _Lister) -> Entry:
    """An entry from a name and its attributes.

    Raises:
        _UntoldError: its kind is missing, as from a server that could not read it.
        ValueError: it has no usable name.
    """
    path = folder.below(name.name)
    if not is_name(name.name):
        raise ValueError(
            f"a name that leads out of the experiment: {escaped(name.name, limit=200)}"
        )
    check_name(path)
    size, mode, modified = name.attributes
    if size is None or mode is None or modified is None:
        shown = escaped(name.name, limit=200)
        raise _UnreportedKindError(f"the server does not report what {shown} is")
    kind = EntryKind.DOT_FILE
    if is_wanted(name.name, dot_files=lister.dot_files):
        kind = _KINDS.get(stat.S_IFMT(mode), EntryKind.SPECIAL)
    if kind is EntryKind.FOLDER and folder.depth >= MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} folders in each other")
    modified = told_time(modified, name.name, name.line, lister.began)
    return Entry(kind, path, size, modified, stat.S_IMODE(mode))


_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFLNK: EntryKind.SYMLINK,
}
