"""The facility's SSH server, and the OpenSSH command line that reaches it.

OpenSSH's own client does the connection, so that the site's keys, ssh_config, ProxyJump, agents
and host keys all count. What is set here goes before ssh_config; everything else is the site's.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from asynchy.errors import ToolMissing

_FAST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""On today's processors twice as fast as OpenSSH's default cipher (docs/decisions/0005)."""


@dataclass(frozen=True)
class Remote:
    """Where the facility's SSH server is and how to log in there."""

    host: str
    user: str
    port: int | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    timeout: int = 600
    """Seconds without a word from the other side after which it counts as gone."""
    connections: int = 16
    """How many connections this machine has to the server at most, whatever runs on it."""
    entries: int = 20_000_000
    """How many entries an experiment has at most that is listed there."""

    def ssh_command(self, *, compressed: bool = False) -> list[str]:
        """The ssh command line up to, not including, the host.

        `compressed`: what is said on it is compressed, whatever ssh_config says.

        Raises:
            ToolMissing: there is no ssh on this machine.
        """
        if shutil.which("ssh") is None:
            raise ToolMissing("ssh is not installed", hint="install OpenSSH's client")
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
            # What a person's ssh_config has for log-ins by hand.
            "RemoteCommand=none",
            "LogLevel=ERROR",  # no banner of the server, but why ssh failed
        ]
        if compressed:
            options.append("Compression=yes")
        if self.key_file:
            options.append("IdentitiesOnly=yes")
        if self.known_hosts:
            options.append(f"UserKnownHostsFile={_ssh_path(self.known_hosts)}")
        options += options_for(self.host)
        command = ["ssh", "-a", "-x", "-T"]
        for option in options:
            command += ["-o", option]
        if self.port:
            command += ["-p", str(self.port)]
        if self.key_file:
            command += ["-i", str(self.key_file)]
        return [*command, "-l", self.user]


def _ssh_path(path: Path) -> str:
    """A path as the value of an ssh option, where `%` and blanks have a meaning."""
    return '"' + str(path).replace("%", "%%") + '"'


def prefer_fast(site: list[str], built_in: list[str]) -> list[str] | None:
    """The ciphers to ask for: AES-GCM first; None where the site's ssh_config has chosen."""
    if site != built_in or not set(_FAST) & set(site):
        return None
    return [*(c for c in _FAST if c in site), *(c for c in site if c not in _FAST)]


_known: dict[str, tuple[str, ...]] = {}
_UNDONE = {
    "stdinnull": "StdinNull=no",
    "forkafterauthentication": "ForkAfterAuthentication=no",
}
"""Settings of ssh_config that would keep a command from being run; OpenSSH before 8.7 does not know
them, so that they are named only where the site has them."""


def options_for(host: str) -> tuple[str, ...]:
    """What ssh is asked for besides, given what ssh_config says of a host; ssh is asked once."""
    if host not in _known:
        site = _settings(["ssh", "-G", "--", host])
        built_in = _settings(["ssh", "-F", "none", "-G", "--", host])
        chosen = prefer_fast(_ciphers(site), _ciphers(built_in))
        ciphers = (f"Ciphers={','.join(chosen)}",) if chosen else ()
        undone = (_UNDONE[key] for key in _UNDONE if site.get(key, "no") != "no")
        _known[host] = (*ciphers, *undone)
    return _known[host]


def remember_options(host: str, options: tuple[str, ...]) -> None:
    """Take them from another process of ours."""
    _known[host] = options


def _ciphers(settings: dict[str, str]) -> list[str]:
    return settings["ciphers"].split(",") if "ciphers" in settings else []


def _settings(command: list[str]) -> dict[str, str]:
    """The settings that `ssh -G` says are in force, by key; none where it cannot say."""
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
