"""What the facility's server offers, found out by trying; nothing is assumed."""

from __future__ import annotations

import functools
import logging
import re
import threading
from dataclasses import dataclass

from asynchy.errors import CommandsNotOffered, ListingError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh import subprocess_runner
from asynchy.ssh.error_causes import SSH_FAILED, cause, refuses_commands
from asynchy.ssh.rsync.output import known_holes
from asynchy.ssh.server import Server
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

_MAX_LINES = 100
"""Lines that are looked at; rsync's `--version` has 20."""


@dataclass(frozen=True)
class SftpService:
    """The answer of the SFTP subsystem."""

    version: int
    round_trip: float
    """Seconds from a question to its answer, once connected."""


def sftp(remote: Server) -> SftpService:
    """Greet the server's SFTP subsystem and measure one round trip.

    Raises:
        ListingError: it cannot be reached or does not answer as SFTP; the message says why.
        ToolMissing: ssh is not installed.
    """
    with Connection(remote, Stop()) as connection:
        return SftpService(connection.version, connection.round_trip)


_SFTP_ALONE = b"This service allows sftp connections only."
"""OpenSSH's answer to any command if ForceCommand is internal-sftp."""


def rsync_version(remote: Server) -> str | None:
    """The version of the server's rsync; None if the server does not run rsync for us.

    Raises:
        CommandsNotOffered: the server runs no commands at all for us.
        ListingError: the server could not be asked; the message says why.
        ToolMissing: ssh is not installed.
    """
    command = [*remote.ssh_command(), remote.host, "rsync --version"]
    line, output, result = _first_line(command, remote.timeout)
    if _SFTP_ALONE in output:
        reason, hint = "the server runs no commands for us, it offers SFTP alone", "`engine: sftp`"
        raise CommandsNotOffered(reason, hint=f"{hint} or `auto`")
    # ssh also ends with 255 if a server runs no commands; its message tells the two apart.
    if result.code == SSH_FAILED and (found := cause(result.stderr)) is not None:
        kind = CommandsNotOffered if refuses_commands(result.stderr) else ListingError
        raise found.as_error(kind)
    return line


def own_versions() -> tuple[str | None, str | None]:
    """The first lines that this machine's rsync and ssh print about their version."""
    return _first_line(["rsync", "--version"])[0], _first_line(["ssh", "-V"])[0]


@functools.cache
def warn_of_holes() -> None:
    """Log a warning, once, if this machine's rsync may have known vulnerabilities."""
    version = own_versions()[0]
    if version is not None and (holes := known_holes(version)) is not None:
        log.warning("%s %s", version, may_have(holes))


def may_have(holes: str) -> str:
    """The hint for an rsync with known vulnerabilities."""
    return (
        f"may have known holes, unless the distribution has fixed them: {holes}; "
        "update it, or use `engine: sftp`"
    )


def _first_line(
    command: list[str], seconds: int = 60
) -> tuple[str | None, bytes, subprocess_runner.ProcessResult]:
    """The first line about a version, the whole output, and the exit code.

    None if there is no such line, or the command does not end in time.
    """
    stop = Stop()
    lines: list[bytes] = []
    timer = threading.Timer(seconds, stop.request)
    timer.start()

    def keep_line(line: bytes) -> None:
        if len(lines) < _MAX_LINES:
            lines.append(line[:1000])

    try:
        result = subprocess_runner.run(
            command, stop=stop, on_stdout=keep_line, on_stderr=keep_line, environment={}
        )
    finally:
        timer.cancel()
    found = [line for line in lines if re.search(rb"(version|OpenSSH)", line)]
    ok = result.code == 0 and found
    line = escaped(b" ".join(found[0].split()), limit=100) if ok else None
    return line, b"\n".join(lines), result
