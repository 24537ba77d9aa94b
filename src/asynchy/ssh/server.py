"""The facility's SSH server, and the OpenSSH command line that reaches it.

OpenSSH's own client does the connection, so that the site's keys, ssh_config, ProxyJump, agents
and host keys all count. What is set here goes before ssh_config; everything else is the site's.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asynchy.errors import KeyFileRefused, ToolMissing
from asynchy.model.file_kind import other_kind

_FAST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""On today's processors twice as fast as OpenSSH's default cipher (docs/decisions/0005)."""


NAME_A_FILE = "name a file with `key-file`"
"""The hint for a key file that is not a file."""


@dataclass(frozen=True)
class Server:
    """Where the facility's SSH server is and how to log in there."""

    host: str
    user: str
    port: int | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    timeout: int = 600
    """Seconds without a byte from the other side after which it counts as gone."""
    connections: int = 16
    """The limit on connections from this machine to the server, of all commands together."""
    entries: int = 20_000_000
    """How many entries an experiment has at most that is listed there."""

    def ssh_command(self, *, compressed: bool = False, subsystem: bool = False) -> list[str]:
        """The ssh command line up to, not including, the host.

        `compressed`: compress the connection, whatever ssh_config has. `subsystem`: the argument
        after the host is the name of a subsystem, not a command.

        Raises:
            KeyFileRefused: the key file is something other than a file.
            ToolMissing: there is no ssh on this machine.
        """
        require_ssh()
        if self.key_file is not None and (reason := other_than_file(self.key_file)) is not None:
            raise KeyFileRefused(f"{self.host}: {reason}", hint=NAME_A_FILE)
        alive = max(1, min(15, self.timeout // 4))
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"ConnectTimeout={min(30, self.timeout)}",
            f"ServerAliveInterval={alive}",
            "ServerAliveCountMax=3",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "ControlMaster=no",  # a connection carries 2 MB a round trip; sharing one only costs
            "ControlPath=none",
            # Settings of a person's ssh_config that are meant for interactive log-ins.
            "RemoteCommand=none",
            "LogLevel=ERROR",  # no banner of the server, but why ssh failed
        ]
        if compressed:
            options.append("Compression=yes")
        if self.key_file:
            options.append("IdentitiesOnly=yes")
        if self.known_hosts:
            options.append(f"UserKnownHostsFile={_ssh_path(self.known_hosts)}")
        options += self.options
        # ssh takes the first of `-s` and `SessionType`, and refuses `-s` behind the other.
        command = ["ssh", "-a", "-x", "-T", *(["-s"] if subsystem else [])]
        for option in options:
            command += ["-o", option]
        if self.port:
            command += ["-p", str(self.port)]
        if self.key_file:
            command += ["-i", str(self.key_file)]
        return [*command, "-l", self.user]

    @cached_property
    def options(self) -> tuple[str, ...]:
        """Further options, which depend on the ssh_config of the host.

        ssh is asked once; a process that gets this server has the answer with it.
        """
        context = _settings(["ssh", "-G", "--", self.host])
        built_in = _settings(["ssh", "-F", "none", "-G", "--", self.host])
        chosen = prefer_fast(_ciphers(context), _ciphers(built_in))
        ciphers = (f"Ciphers={','.join(chosen)}",) if chosen else ()
        undone = (
            f"{name}={default}"
            for key, (name, default) in _UNDONE.items()
            if context.get(key, default) != default
        )
        # ssh before 8.5 does not know this option, and reports without it that the server closed.
        says_more = (f"LogVerbose={_SHUT_OUT}",) if context.get("logverbose") == "none" else ()
        return (*ciphers, *undone, *says_more)


def require_ssh() -> None:
    """Look for ssh.

    Raises:
        ToolMissing: there is none on this machine.
    """
    if shutil.which("ssh") is None:
        raise ToolMissing("ssh is not installed", hint="install OpenSSH's client")


def other_than_file(key: Path) -> str | None:
    """The error for a key file that is a folder, or anything else but a file; None: it may be one.

    Of a folder, ssh only reports that others may read it, or that it cannot be read.
    """
    try:
        kind = other_kind(key.stat().st_mode)
    except OSError:  # ssh says why
        return None
    return None if kind is None else f"the key file {key} is {kind}"


def _ssh_path(path: Path) -> str:
    """A path as the value of an ssh option, in which `%` and blanks have a meaning."""
    return '"' + str(path).replace("%", "%%") + '"'


def prefer_fast(context: list[str], built_in: list[str]) -> list[str] | None:
    """The ciphers to ask for: AES-GCM first; None if the site's ssh_config has chosen."""
    if context != built_in or not set(_FAST) & set(context):
        return None
    return [*(c for c in _FAST if c in context), *(c for c in context if c not in _FAST)]


_SHUT_OUT = "packet.c:sshpkt_vfatal():*"
"""Makes OpenSSH report that the server closed the connection; since 10, `LogLevel=ERROR` hides
it.
"""
_UNDONE = {
    "stdinnull": ("StdinNull", "no"),
    "forkafterauthentication": ("ForkAfterAuthentication", "no"),
    "sessiontype": ("SessionType", "default"),
}
"""Settings of ssh_config that would keep a command from being run, and their defaults; OpenSSH
before 8.7 does not know them, so that they are named only if the site sets them."""


def _ciphers(settings: dict[str, str]) -> list[str]:
    return settings["ciphers"].split(",") if "ciphers" in settings else []


def _settings(command: list[str]) -> dict[str, str]:
    """The settings in force, by key, as `ssh -G` prints them; empty if it fails."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    lines = (line.partition(" ") for line in answer.stdout.splitlines())
    return {key: value for key, _, value in lines}
