"""What the facility's server offers, found out by trying; nothing is assumed."""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import ListingError
from asynchy.ssh import child
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import explain

_INIT, _VERSION, _REALPATH = 1, 2, 16
_LARGEST = 1 << 18
"""Bytes of an answer; draft-ietf-secsh-filexfer-02 wants at least 34,000."""


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
    command = child.bound_to_parent([*remote.ssh_command(), "-s", remote.host, "sftp"])
    deadline = time.monotonic() + min(60, remote.timeout)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    ) as process:
        try:
            assert process.stdin and process.stdout and process.stderr
            _send(process.stdin, bytes([_INIT]) + struct.pack(">I", 3))
            hello = _receive(process.stdout, deadline)
            if len(hello) < 5 or hello[0] != _VERSION:
                raise ListingError(_why_not(process))
            asked = time.monotonic()
            _send(process.stdin, bytes([_REALPATH]) + struct.pack(">II", 1, 1) + b".")
            if not _receive(process.stdout, deadline):
                raise ListingError(_why_not(process))
            return SftpService(struct.unpack(">I", hello[1:5])[0], time.monotonic() - asked)
        except BrokenPipeError:
            raise ListingError(_why_not(process)) from None
        finally:
            process.kill()


def rsync_version(remote: Remote) -> str | None:
    """The version of the server's rsync; None where the server runs no such command for us."""
    return _first_line([*remote.ssh_command(), remote.host, "rsync --version"])


def own_versions() -> tuple[str | None, str | None]:
    """The first lines that this machine's rsync and ssh say of themselves."""
    return _first_line(["rsync", "--version"]), _first_line(["ssh", "-V"])


def _send(pipe: IO[bytes], payload: bytes) -> None:
    pipe.write(struct.pack(">I", len(payload)) + payload)


def _receive(pipe: IO[bytes], deadline: float) -> bytes:
    """The next packet without its length; nothing where none comes in time."""
    head = _exactly(pipe, 4, deadline)
    length = struct.unpack(">I", head)[0] if len(head) == 4 else 0
    return _exactly(pipe, length, deadline) if length <= _LARGEST else b""


def _exactly(pipe: IO[bytes], count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(pipe.fileno(), count - len(data)) if ready else b""
        if not part:
            break
        data += part
    return data


def _why_not(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    assert process.stderr is not None
    words = process.stderr.read(4096).decode("utf-8", "backslashreplace")
    reason = explain(255, words).reason
    return f"{reason}: {shown(words.strip(), limit=200)}" if words.strip() else "no SFTP answered"


def _first_line(command: list[str]) -> str | None:
    lines: list[bytes] = []
    ended = child.run(
        command, stop=Stop(), on_stdout=lines.append, on_stderr=lines.append, environment={}
    )
    found = [line for line in lines if re.search(rb"(version|OpenSSH)", line)]
    return shown(b" ".join(found[0].split()), limit=100) if ended.code == 0 and found else None
