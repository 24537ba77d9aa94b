"""What the facility's server offers, found out by trying; nothing is assumed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.ssh import child
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp.connection import Connection


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
    """The version of the server's rsync; None where the server runs no such command for us."""
    return _first_line([*remote.ssh_command(), remote.host, "rsync --version"])


def own_versions() -> tuple[str | None, str | None]:
    """The first lines that this machine's rsync and ssh say of themselves."""
    return _first_line(["rsync", "--version"]), _first_line(["ssh", "-V"])


def _first_line(command: list[str]) -> str | None:
    lines: list[bytes] = []
    ended = child.run(
        command, stop=Stop(), on_stdout=lines.append, on_stderr=lines.append, environment={}
    )
    found = [line for line in lines if re.search(rb"(version|OpenSSH)", line)]
    return shown(b" ".join(found[0].split()), limit=100) if ended.code == 0 and found else None
