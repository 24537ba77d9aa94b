"""Lists experiments at the facility: over SFTP if it is offered, else with rsync."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from asynchy.errors import ExperimentAbsent, ListingRefused, NotAFolder, SftpNotOffered
from asynchy.facility import links
from asynchy.facility.folder_queue import Folder, FolderError
from asynchy.facility.sftp_lister import crawl
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind, Unlisted
from asynchy.model.formatting import escaped
from asynchy.ssh import capabilities
from asynchy.ssh.rsync import runner
from asynchy.ssh.session import ServerSession

log = logging.getLogger(__name__)

_UNREPORTED = Entry(EntryKind.FOLDER, b".", 0, 0, 0o755)
"""The folder of an experiment, if the server does not report it."""


def list_experiment(  # noqa: PLR0913 - server, folder, callback, depth
    session: ServerSession,
    source: str,
    on_entry: Callable[[Entry], None],
    stop: Stop,
    *,
    deep: bool = True,
    dot_files: bool = False,
) -> list[Unlisted]:
    """Hand over every entry of an experiment, itself (`.`) too; not `deep`: its first level.

    Its folder may be a symbolic link to one. `dot_files`: they count as files like others. Returns
    the folders in it that could not be listed: their content is not known.

    Raises:
        ExperimentAbsent: nothing is in its place.
        ListingRefused: it may not be read, or something in it has a name that cannot be used.
        NotAFolder: something else is in its place, such as a link that leads to no folder.
        ListingError: the facility cannot be reached, or the connection broke off.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    if session.facts.offers_sftp:
        try:
            handler = _EntryHandler(on_entry, deep)
            crawl(session, [Folder(0, source.encode())], handler, stop, dot_files=dot_files)
            return handler.unlisted
        except SftpNotOffered as error:
            log.info("%s; listing with rsync", error)
            capabilities.warn_of_holes()
            session.note_no_sftp()
    try:
        return runner.list_tree(
            session.server, source, on_entry, stop, deep=deep, dot_files=dot_files
        )
    except ExperimentAbsent:
        problem = links.explain_absence_by_rsync(session.server, source, stop)
        if problem is None:
            raise
        raise _refused(NotAFolder, source, problem) from None


def _refused(kind: type[ListingRefused], folder: str, reason: str) -> ListingRefused:
    hint = "ask the facility to open, rename or repair it"
    if kind is NotAFolder:
        hint = "ask the facility where its data are now"
    return kind(f"{folder}: {reason}", hint=hint)


class _EntryHandler:
    """Hands entries over, and notes the folders that could not be listed."""

    def __init__(self, on_entry: Callable[[Entry], None], deep: bool) -> None:
        self._on_entry = on_entry
        self._deep = deep
        self._has_top = False
        self.unlisted: list[Unlisted] = []

    def enters(self, path: bytes) -> bool:
        return self._deep

    def top(self, folder: Folder, entry: Entry) -> None:
        if not self._has_top:
            self._has_top = True
            self._on_entry(entry)

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._on_entry(entry)

    def ended(self, folder: Folder) -> None:
        if folder.path == b".":
            self.top(folder, _UNREPORTED)

    def failed(self, folder: Folder, refused: FolderError) -> None:
        if refused.absent and folder.path == b".":
            raise ExperimentAbsent(
                "there is no such folder at the facility",
                hint="check `source-path` and `beamline`; the data may be gone or not there yet",
            )
        if refused.alone and folder.path != b".":
            self.unlisted.append(Unlisted(folder.path, refused.reason, refused.to_do))
            return
        kind = NotAFolder if refused.replaced else ListingRefused
        raise _refused(kind, escaped(folder.full), refused.reason)
