"""A server whose host key is not the known one: every command that connects stops, and says so."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.experiments import mx_experiment
from simulator.portal.handle import OMIT
from tests.conftest import Group, Home, give

NO_TEMPLATES = dict.fromkeys(
    [f"epnalert_template_{name}" for name in ("folder", "text", "html")], OMIT
)
CHANGED = ("the server's host key is not the one in known_hosts", "ask the facility, by phone")
UNKNOWN = ("the server's host key is not in known_hosts", "ssh-keygen -lf")


def known_hosts(facility: Any, place: Path, what: str) -> Path:
    """A file with another key for the facility's server, or with none."""
    path = place / "other-hosts"
    path.write_text("")
    if what == "changed":
        other = place / "other-key"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other]
        subprocess.run(command, check=True)
        key = " ".join(other.with_suffix(".pub").read_text().split()[:2])
        path.write_text(f"[{facility.host}]:{facility.port} {key}\n")
    give(place)
    return path


def stops(run: subprocess.CompletedProcess[str], what: str, code: int) -> None:
    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == code, told
    for words in CHANGED if what == "changed" else UNKNOWN:
        assert words in told, told


def arrived(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", ["changed", "unknown"])
def test_commands_of_a_config_with_a_portal(home: Home, what: str) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=3000)
    give(home.facility.data)
    home.visit("12282a")
    assert home.once().returncode == 0
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    other = known_hosts(home.facility, home.place, what)
    before = other.read_text()
    logins = home.facility.sshd_log().count("Accepted publickey")
    for engine in ("rsync", "auto"):
        home.configure(known_hosts=str(other), engine=engine, **NO_TEMPLATES)
        stops(home.once(), what, 4)
    stops(home.mxsync(), what, 4)
    asynchy = ("asynchy", "--config", home.config)
    doctor = home.program.run(*asynchy, "doctor")
    stops(doctor, what, 1)
    assert "skip  rsync there: the same fault as of the SFTP service" in doctor.stdout
    stops(home.program.run(*asynchy, "verify", "12282a"), what, 4)
    stops(home.program.run("epnalert", "--config", home.config, "--dry-run"), what, 4)
    assert other.read_text() == before
    assert home.facility.sshd_log().count("Accepted publickey") == logins
    if what == "changed":  # what is to be compared is told
        public = home.facility.folder / "ssh" / "host_key.pub"
        command = ["ssh-keygen", "-lf", public]
        seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]
        told = home.mxsync().stdout
        assert seen in told
        address = f"[{home.facility.host}]:{home.facility.port}"
        assert f"`ssh-keygen -R '{address}' -f {other}`" in told


@pytest.mark.parametrize("what", ["changed", "unknown"])
def test_commands_without_a_portal_stop_at_once_however_often_they_may_try(
    group: Group, what: str
) -> None:
    group.experiment("12282a")
    assert group.walk().returncode == 0
    vault = group.place / "vault"
    vault.mkdir()
    other = known_hosts(group.facility, group.place, what)
    for engine in ("sftp", "rsync"):
        group.configure(engine=engine, **{"known-hosts": other})
        began = time.monotonic()
        stops(group.asynchy("sync", "--dest", vault, "--retry", "9"), what, 6)
        assert time.monotonic() - began < 60  # nine pauses take minutes
    began = time.monotonic()
    stops(group.walk(), what, 4)
    assert time.monotonic() - began < 60
    stops(group.asynchy("doctor"), what, 1)
    assert arrived(vault) == []
