"""ProFTPD in the place of the simulated facility's sshd: it offers SFTP, and runs no commands."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from simulator.facility import USER, Facility, greeting

_CONFIG = """
ServerType standalone
DefaultAddress {host}
Port {port}
User {user}
Group {group}
ModulePath /usr/lib/proftpd
LoadModule mod_sftp.c
ControlsEngine off
DelayEngine off
UseReverseDNS off
RequireValidShell off
ScoreboardFile {folder}/score
PidFile {folder}/pid
SystemLog {folder}/log
AuthOrder mod_auth_file.c
AuthUserFile {folder}/passwd
SFTPEngine on
SFTPAuthMethods publickey
SFTPHostKey {folder}/host_key
SFTPAuthorizedUserKeys file:{folder}/key.rfc4716
"""
_READY_WITHIN = 20.0


@contextmanager
def proftpd(facility: Facility) -> Iterator[None]:
    """ProFTPD at the port, with the keys and for the user of the facility's sshd, which is stopped."""
    program = shutil.which("proftpd", path="/usr/sbin:/usr/local/sbin")
    assert program is not None, "proftpd is missing: install proftpd-core proftpd-mod-crypto"
    facility.stop_sshd()
    folder = facility.folder / "proftpd"
    folder.mkdir()
    key = facility.key_file.with_name("key.pub")
    public = subprocess.run(["ssh-keygen", "-e", "-f", key], check=True, capture_output=True)
    (folder / "key.rfc4716").write_bytes(public.stdout)
    shutil.copy(facility.folder / "ssh" / "host_key", folder / "host_key")
    user, group = facility.account
    (folder / "passwd").write_text(f"{USER}:*:{user}:{group}::{facility.folder}:/bin/sh\n")
    (folder / "conf").write_text(
        _CONFIG.format(
            host=facility.host,
            port=facility.port,
            folder=folder,
            user=pwd.getpwuid(user).pw_name,
            group=grp.getgrgid(group).gr_name,
        )
    )
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, user, group)
        path.chmod(0o700 if path.is_dir() else 0o600)
    root = {"user": user, "group": group, "extra_groups": []} if os.getuid() == 0 else {}
    server = subprocess.Popen(
        [program, "-n", "-c", folder / "conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", **root,
    )  # fmt: skip
    try:
        until = time.monotonic() + _READY_WITHIN
        while greeting(facility.host, facility.port) != b"SSH-":
            assert server.poll() is None and time.monotonic() < until, "proftpd does not start"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()
