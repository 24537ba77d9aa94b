"""What the facility's server offers, found out by trying; nothing is assumed."""

from __future__ import annotations

import functools
import logging
import re
import threading
from dataclasses import dataclass

from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import ListingError
from asynchy.ssh import child
from asynchy.ssh.causes import SSH_FAILED, cause
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import known_holes
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

_LINES = 100
"""Lines that are looked at; rsync's `--version` has 20."""


@dataclass(frozen=True)
class SftpService:
    """What the SFTP subsystem answered."""

    version: int
    round_trip: float
    """Seconds from a question to its answer, once connected."""


def sftp(remote: Remote) -> SftpService:
    """Say hello to the server's SFTP subsystem and time one question.

    Raises:
        ListingError: it cannot be reached or does not answer as SFTP; the message says why.
        ToolMissing: ssh is not installed.
    """
    with Connection(remote, Stop()) as connection:
        return SftpService(connection.version, connection.round_trip)


def rsync_version(remote: Remote) -> str | None:
    """The version of the server's rsync; None where the server runs no such command for us.

    Raises:
        ListingError: the server could not be asked; the message says why.
        ToolMissing: ssh is not installed.
    """
    command = [*remote.ssh_command(), remote.host, "rsync --version"]
    line, ended = _first_line(command, remote.timeout)
    # 255 is what ssh says of a server that runs no command, too; the words tell it apart.
    if ended.code == SSH_FAILED and (found := cause(ended.stderr)) is not None:
        raise found.as_error(ListingError)
    return line


def own_versions() -> tuple[str | None, str | None]:
    """The first lines that this machine's rsync and ssh say of themselves."""
    return _first_line(["rsync", "--version"])[0], _first_line(["ssh", "-V"])[0]


@functools.cache
def warn_of_holes() -> None:
    """Say in the log, once, where this machine's rsync may have known holes."""
    version = own_versions()[0]
    if version is not None and (holes := known_holes(version)) is not None:
        log.warning("%s %s", version, may_have(holes))


def may_have(holes: str) -> str:
    """What to do about an rsync with known holes."""
    return (
        f"may have known holes, unless the distribution has mended them: {holes}; "
        "update it, or use `engine: sftp`"
    )


def _first_line(command: list[str], seconds: int = 60) -> tuple[str | None, child.Ended]:
    """The first line about a version, and how the command ended.

    None where no line comes, or no end within that time.
    """
    stop = Stop()
    lines: list[bytes] = []
    timer = threading.Timer(seconds, stop.ask)
    timer.start()

    def hear(line: bytes) -> None:
        if len(lines) < _LINES:
            lines.append(line[:1000])

    try:
        ended = child.run(command, stop=stop, on_stdout=hear, on_stderr=hear, environment={})
    finally:
        timer.cancel()
    found = [line for line in lines if re.search(rb"(version|OpenSSH)", line)]
    good = ended.code == 0 and found
    return (shown(b" ".join(found[0].split()), limit=100) if good else None), ended
