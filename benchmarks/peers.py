"""The programs that are measured, each as the command line that brings one experiment home."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Login:
    """How to reach the facility, and where the experiment lies there."""

    host: str
    port: int
    user: str
    key: str
    known_hosts: str
    source: str

    def ssh(self, cipher: str | None = "aes128-gcm@openssh.com") -> str:
        """The ssh command line up to the host; `cipher` None: OpenSSH's default."""
        chosen = f"-c {cipher} " if cipher else ""
        return (
            f"ssh -p {self.port} -l {self.user} -i {self.key} {chosen}"
            f"-o UserKnownHostsFile={self.known_hosts} -o BatchMode=yes"
        )


_MODES = ["--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X"]

_SHARDED = """
set -e
names=$(mktemp -d)
trap 'rm -r $names' EXIT
trap 'exit 143' TERM
{start} --list-only -r --no-inc-recursive {host}:{source}/ > $names/all
grep '^-' $names/all | awk '{{print substr($0, index($0, $5))}}' | split -n r/{count} - $names/part.
for part in $names/part.*; do
    {start} -t --files-from=$part {host}:{source}/ {destination}/ &
done
wait
"""


def commands(login: Login, destination: Path, config: Path) -> dict[str, list[str]]:
    """By name: the command lines of those programs that are installed."""
    source = f"{login.host}:{login.source}/"
    own = Path(os.environ.get("ASYNCHY", Path(sys.executable).with_name("asynchy")))
    rsync = ["rsync", "-rt", "-e", login.ssh()]
    found = {
        "asynchy": [str(own), "--config", str(config), "sync", "--dest", str(destination)],
        "originals": [
            "rsync", "-rt", *_MODES, "--include=.info", "--exclude=.*", "-e", login.ssh(None),
            source, f"{destination}/",
        ],
        "rsync": [*rsync, source, f"{destination}/"],
    }  # fmt: skip
    for count in (4, 8):
        script = _SHARDED.format(
            start=f"rsync -e '{login.ssh()}'",
            host=login.host,
            source=login.source,
            destination=destination,
            count=count,
        )
        found[f"rsync x{count}"] = ["sh", "-c", script]
    rclone = shutil.which("rclone") or _beside("rclone")
    if rclone:
        found["rclone"] = [
            rclone, "copy", f":sftp:{login.source}", str(destination), "--config=/dev/null",
            f"--sftp-host={login.host}", f"--sftp-port={login.port}", f"--sftp-user={login.user}",
            f"--sftp-key-file={login.key}", f"--sftp-known-hosts-file={login.known_hosts}",
            "--sftp-concurrency=64", "--sftp-chunk-size=255k", "--transfers=8",
            "--multi-thread-streams=8", "--multi-thread-cutoff=64M",
        ]  # fmt: skip
    if shutil.which("lftp"):
        script = (
            f"set sftp:connect-program '{login.ssh()} -a -x';"
            f"open sftp://{login.user.replace('@', '%40')}:x@{login.host}:{login.port};"
            f"mirror --parallel=8 --use-pget-n=8 {login.source} {destination}"
        )
        found["lftp"] = ["lftp", "-c", script]
    return found


def _beside(name: str) -> str | None:
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None
