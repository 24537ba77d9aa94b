"""The host keys of a server: which are known here, and which it offers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from asynchy.errors import ToolMissing
from asynchy.model.cancellation import Stop
from asynchy.ssh import subprocess_runner

_TIMEOUT = 20  # seconds


@dataclass(frozen=True)
class HostKey:
    """One key that a server offers."""

    line: str
    """As it stands in a file of known hosts."""
    fingerprint: str
    """`SHA256:` and 43 characters, as ssh-keygen(1) prints it."""


def is_known(host: str, port: int, files: tuple[Path, ...]) -> bool:
    """Whether a file of known hosts has a key of a server.

    Raises:
        ToolMissing: ssh-keygen is not installed.
    """
    return any(
        _output(["ssh-keygen", "-F", _name(host, port), "-f", str(file)])
        for file in files
        if os.access(file, os.R_OK)
    )


def offered(host: str, port: int) -> list[HostKey]:
    """The keys that a server offers, unproven; none if it cannot be asked.

    Raises:
        ToolMissing: ssh-keyscan is not installed.
    """
    found = []
    for line in _output(["ssh-keyscan", "-T", "10", "-p", str(port), "--", host]):
        parts = line.split()
        if len(parts) < 3 or line.startswith("#"):
            continue
        try:
            key = base64.b64decode(parts[2], validate=True)
        except binascii.Error:
            continue
        digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
        entry = f"{_name(host, port)} {parts[1]} {parts[2]}"
        found.append(HostKey(entry, f"SHA256:{digest}"))
    return found


def _name(host: str, port: int) -> str:
    return host if port == 22 else f"[{host}]:{port}"


def _output(command: list[str]) -> list[str]:
    if shutil.which(command[0]) is None:
        raise ToolMissing(f"{command[0]} is not installed", hint="install OpenSSH's client")
    lines: list[bytes] = []
    subprocess_runner.run(
        command,
        stop=Stop(),
        on_stdout=lines.append,
        on_stderr=lambda _line: None,
        environment={"LC_ALL": "C"},
        idle_timeout=_TIMEOUT,
    )
    return [line.decode("ascii", "replace") for line in lines]
