"""What lies at the facility: over SFTP where it is offered, else as rsync lists it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from asynchy.domain.experiment import Entry, Kind
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import ExperimentAbsent, ListingRefused, NotAFolder, SftpNotOffered
from asynchy.facility import links
from asynchy.facility.crawl import Refused, crawl
from asynchy.facility.folder_queue import Folder
from asynchy.ssh import probe, rsync
from asynchy.ssh.remote import Remote

log = logging.getLogger(__name__)

_UNTOLD = Entry(Kind.FOLDER, b".", 0, 0, 0o755)
"""The folder of an experiment, where the server says nothing of it."""
_without_sftp: set[Remote] = set()
"""Servers that were found to offer no SFTP; a process asks each of them once."""


def offers_sftp(remote: Remote) -> bool:
    """Whether the server offers SFTP, as far as this process has listed anything there."""
    return remote not in _without_sftp


def remember_no_sftp(remote: Remote) -> None:
    """Take it from another process of ours that the server offers no SFTP."""
    _without_sftp.add(remote)


def list_experiment(
    remote: Remote,
    source: str,
    on_entry: Callable[[Entry], None],
    stop: Stop,
    *,
    deep: bool = True,
) -> None:
    """Hand over every entry of an experiment, itself (`.`) too; not `deep`: its first level.

    Its folder may be a symbolic link to one.

    Raises:
        ExperimentAbsent: nothing is in its place.
        ListingRefused: some of it may not be read, or has a name that cannot be used.
        NotAFolder: something else is in its place, such as a link that leads to no folder.
        ListingError: the facility cannot be reached, or the connection broke off.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    if remote not in _without_sftp:
        try:
            crawl(remote, [Folder(0, source.encode())], _HandingOver(on_entry, deep), stop)
            return
        except SftpNotOffered as error:
            log.info("%s; listing with rsync", error)
            probe.warn_of_holes()
            _without_sftp.add(remote)
    try:
        rsync.list_tree(remote, source, on_entry, stop, deep=deep)
    except ExperimentAbsent:
        problem = links.explain_absence_by_rsync(remote, source, stop)
        if problem is None:
            raise
        raise _refused(NotAFolder, source, problem) from None


def _refused(kind: type[ListingRefused], folder: str, reason: str) -> ListingRefused:
    hint = "ask the facility to open, rename or mend it"
    if kind is NotAFolder:
        hint = "ask the facility where its data are now"
    return kind(f"{folder}: {reason}", hint=hint)


class _HandingOver:
    """Hands entries over; what could not be listed makes the listing worthless."""

    def __init__(self, on_entry: Callable[[Entry], None], deep: bool) -> None:
        self._on_entry = on_entry
        self._deep = deep
        self._begun = False

    def enters(self, path: bytes) -> bool:
        return self._deep

    def top(self, folder: Folder, entry: Entry) -> None:
        if not self._begun:
            self._begun = True
            self._on_entry(entry)

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._on_entry(entry)

    def ended(self, folder: Folder) -> None:
        if folder.path == b".":
            self.top(folder, _UNTOLD)

    def failed(self, folder: Folder, refused: Refused) -> None:
        if refused.absent and folder.path == b".":
            raise ExperimentAbsent(
                "there is no such folder at the facility",
                hint="check `source-path` and `beamline`; the data may be gone or not there yet",
            )
        kind = NotAFolder if refused.replaced else ListingRefused
        raise _refused(kind, shown(folder.full), refused.reason)
