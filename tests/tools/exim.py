"""Debian's Exim as the mail server of a test: it takes mails into its spool and delivers none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, wait_until

_CONFIG = """
primary_hostname = mail.example
exim_path = /usr/sbin/exim4
spool_directory = {place}/spool
log_file_path = {place}/%slog
pid_file_path = {place}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
keep_environment =
queue_only
{main}

begin acl
ours:
{acl}
{more}
"""


@dataclass(frozen=True)
class Exim:
    """A running Exim."""

    place: Path
    port: int

    @property
    def taken(self) -> list[str]:
        """The lines of its log about mails that it took."""
        lines = (self.place / "mainlog").read_text().splitlines()
        return [line for line in lines if " <= " in line]

    @property
    def bodies(self) -> list[bytes]:
        """The body of each mail in its spool, in order."""
        found = (self.place / "spool" / "input").rglob("*-D")
        return [path.read_bytes() for path in sorted(found)]

    @property
    def headers(self) -> list[str]:
        """What Exim keeps of each mail beside its body: envelope and header."""
        found = (self.place / "spool" / "input").rglob("*-H")
        return [path.read_text() for path in sorted(found)]


@contextmanager
def exim(
    place: Path, *, main: str = "", acl: str = "  accept", more: str = "", pem: bytes | None = None
) -> Iterator[Exim]:
    """Exim while the context lasts; `acl` decides about recipients, `pem` is in `place/mail.pem`."""
    place.mkdir()
    if pem is not None:
        (place / "mail.pem").write_bytes(pem)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    main = f"acl_smtp_rcpt = ours\n{main}"
    config = _CONFIG.format(place=place, port=port, main=main, acl=acl, more=more)
    (place / "exim.conf").write_text(config)
    if ROOT:
        for path in (place, *place.iterdir()):
            shutil.chown(path, "Debian-exim")
        (place / "exim.conf").chmod(0o644)
        os.chown(place / "exim.conf", 0, 0)
    command = ["/usr/sbin/exim4", "-C", place / "exim.conf", "-bdf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        try:
            wait_until((place / "pid").exists)
            yield Exim(place, port)
        finally:
            running.terminate()
