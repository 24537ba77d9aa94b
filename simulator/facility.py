"""A whole facility: OpenSSH's sshd on a port of its own, and the portal."""

from __future__ import annotations

import functools
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.errors import SimulatorError
from simulator.portal.handle import PortalHandle
from simulator.processes import Process
from simulator.supervise import descendants

__all__ = ["USER", "Facility", "SimulatorError"]

USER = "help@massive.org.au"
_READY_TIMEOUT = 60.0  # seconds
"""Seconds, for a busy machine."""
_PORTS = range(20_000, 32_768)
"""Below the ports that Linux assigns by itself: ip(7), ip_local_port_range."""

_SSHD_CONFIG = """\
Port {port}
ListenAddress {host}
HostKey {folder}/ssh/host_key
AuthorizedKeysFile {folder}/ssh/authorized_keys
{subsystem}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups {max_startups}
{penalties}
{path}
LogLevel VERBOSE
"""


class Facility:
    """A facility below a folder, running while the context lasts; its sshd listens at `host`.

    `run_as` is the (uid, gid) that sshd runs as, and its user is mapped to; only root may give
    it. `tls` is a certificate and a key file for the portal.

    Raises:
        SimulatorError: on entry, where a program is missing (the text names its Debian package),
            or a service does not start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        run_as: tuple[int, int] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.host = host
        self.port = 0
        self.user = USER
        self.offers_sftp = True
        """Whether sshd has an SFTP subsystem the next time it starts."""
        self.sftp_server = "internal-sftp"
        """The SFTP server: OpenSSH's own, or a command line for a shell."""
        self.programs: dict[str, str] | None = None
        """What a shell there finds the next time sshd starts: name -> a script of sh; None: all
        that this machine has."""
        self.sshd_settings: list[str] = []
        """Lines of sshd's config, before all others, the next time it starts."""
        self.max_startups = "10:30:100"
        """sshd's MaxStartups the next time it starts; this is its default."""
        self.key_file = self.folder / "ssh" / "key"
        self.known_hosts = self.folder / "ssh" / "known_hosts"
        self.portal = PortalHandle(tls)
        self._run_as = run_as
        self._sshd: Process | None = None
        self._reserved: socket.socket | None = None
        """Keeps other facilities from our port, also while no sshd listens at it."""

    def __enter__(self) -> Self:
        """Make keys and start both services."""
        if self._run_as is not None and os.getuid() != 0:
            raise SimulatorError("only root can run sshd as another user")
        for name in ("data", "ssh", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._make_account()
        try:
            self.start_sshd()
            self.portal.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End both services and all their processes."""
        try:
            self.portal.stop()
        finally:
            self.stop_sshd()
            self._give_port_back()

    def experiment(self, beamline: str, epn: str) -> Path:
        """The folder of an experiment, made where it is not there."""
        folder = self.data / beamline / epn
        folder.mkdir(parents=True, exist_ok=True)
        self._give(folder.parent, folder)
        return folder

    def sessions(self) -> set[int]:
        """The processes of the sessions that run now."""
        below = set() if self._sshd is None else descendants(self._sshd.pid)
        return {pid for pid in below if self._is_session(pid)}

    @staticmethod
    def _is_session(pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            return False
        return b"[listener]" not in command and b"sshd -D" not in command

    def sshd_log(self) -> str:
        """The log of sshd."""
        return (self.folder / "ssh" / "sshd.log").read_text(errors="replace")

    @property
    def account(self) -> tuple[int, int]:
        """The ids of the user and the group that sshd runs as."""
        return self._run_as or (os.getuid(), os.getgid())

    def start_sshd(self) -> None:
        """Start sshd, on the same port as before where it ran before."""
        if self._sshd is not None:
            return
        chosen = self.port
        for _ in range(10):
            self.port = chosen or self._new_port()
            began = len(self.sshd_log())
            self._launch_sshd()
            if self._answers(began):
                key = (self.folder / "ssh" / "host_key.pub").read_text().split()
                self.known_hosts.write_text(f"[{self.host}]:{self.port} {key[0]} {key[1]}\n")
                self._give(self.known_hosts)
                return
            self.stop_sshd()
        self.port = chosen
        raise SimulatorError(f"sshd does not start:\n{self.sshd_log()}")

    def stop_sshd(self) -> None:
        """End sshd and every session at once."""
        if self._sshd is None:
            return
        self._sshd.stop()
        self._sshd = None

    def _new_port(self) -> int:
        """A port at which nobody listens, and which no other facility of this machine chooses."""
        self._give_port_back()
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            reserved = _reserve(port)
            if reserved is None:
                continue
            if _is_free(self.host, port):
                self._reserved = reserved
                return port
            reserved.close()
        raise SimulatorError("no port is free")

    def _give_port_back(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _make_account(self) -> None:
        for name in ("host_key", "key"):
            if not (self.folder / "ssh" / name).exists():
                subprocess.run(
                    [_tool("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "",
                     "-C", "simulator", "-f", self.folder / "ssh" / name],
                    check=True,
                )  # fmt: skip
        public = (self.folder / "ssh" / "key.pub").read_text()
        (self.folder / "ssh" / "authorized_keys").write_text(public)
        user, group = self.account
        # The account does not exist on this machine; libnss_wrapper shows it to sshd alone.
        (self.folder / "ssh" / "passwd").write_text(
            f"{USER}:x:{user}:{group}:Facility:{self.folder}/home:/bin/sh\n"
            "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        (self.folder / "ssh" / "group").write_text(f"facility:x:{group}:\n")
        (self.folder / "ssh" / "sshd.log").touch()
        own_line = [self.folder / name for name in ("data", "home", "ssh")]
        self._give(self.folder, *own_line, *(self.folder / "ssh").iterdir())

    def _give(self, *paths: Path) -> None:
        """Make files and folders the user's that sshd runs as."""
        if self._run_as is not None:
            for path in paths:
                os.lchown(path, *self._run_as)

    def _sshd_config(self, sshd: str) -> str:
        subsystem = f"Subsystem sftp {self.sftp_server}" if self.offers_sftp else ""
        settings = _SSHD_CONFIG.format(
            host=self.host,
            port=self.port,
            folder=self.folder,
            subsystem=subsystem,
            max_startups=self.max_startups,
            penalties=_no_penalties(sshd),
            path="" if self.programs is None else f"SetEnv PATH={self._offered(self.programs)}",
        )
        return "\n".join([*self.sshd_settings, settings])

    def _offered(self, programs: dict[str, str]) -> Path:
        """A folder with these programs alone."""
        folder = self.folder / "ssh" / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, script in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        self._give(folder)
        return folder

    def _launch_sshd(self) -> None:
        sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
        if sshd is None:
            raise SimulatorError("sshd is missing: install openssh-server")
        _tool("rsync", "rsync")
        folder = self.folder / "ssh"
        (folder / "sshd_config").write_text(self._sshd_config(sshd))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": _nss_wrapper(),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group"),
        }
        if self._run_as:
            environment["SIMULATOR_USER"] = "{}:{}".format(*self._run_as)
        with (folder / "sshd.log").open("ab") as log:
            command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
            self._sshd = Process("simulator.supervise", command, environment=environment, log=log)

    def _answers(self, began: int) -> bool:
        """Whether sshd, whose log began there, says its banner before long."""
        assert self._sshd is not None
        # The banner alone may come from a neighbour who took the port before us.
        ours = f"Server listening on {self.host} port {self.port}."
        deadline = time.monotonic() + _READY_TIMEOUT
        while time.monotonic() < deadline and self._sshd.alive:
            if ours in self.sshd_log()[began:] and greeting(self.host, self.port) == b"SSH-":
                return True
            time.sleep(0.02)
        return False


def greeting(host: str, port: int) -> bytes:
    """The first bytes that a server sends; empty if nothing answers."""
    try:
        with socket.create_connection((host, port), timeout=_READY_TIMEOUT) as connection:
            return connection.recv(4)
    except OSError:
        return b""


@functools.cache
def _no_penalties(sshd: str) -> str:
    """The config line that lets sshd answer a client after refused keys; empty if it always does.

    From 9.8 on, sshd drops the connections of an address for seconds after a refused key:
    sshd_config(5), PerSourcePenalties. An older sshd does not start with an unknown keyword.
    """
    probe = [sshd, "-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no"]
    answer = subprocess.run(probe, capture_output=True, check=False).stderr
    return "" if b"Bad configuration option" in answer else "PerSourcePenalties no"


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SimulatorError(f"{name} is missing: install {package}")
    return found


def _nss_wrapper() -> str:
    for pattern in ("lib/*/libnss_wrapper.so", "lib64/libnss_wrapper.so", "lib/libnss_wrapper.so"):
        for found in Path("/usr").glob(pattern):
            return str(found)
    raise SimulatorError("libnss_wrapper.so is missing: install libnss-wrapper")


def _reserve(port: int) -> socket.socket | None:
    """Take a port's name as an abstract Unix socket, which ends with this process: unix(7)."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0asynchy-simulator port {port}")
    except OSError:
        name.close()
        return None
    return name


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as sshd does
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
