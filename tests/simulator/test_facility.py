"""sshd: reachable as the user who does not exist here, and nothing left of it afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.facility import Facility, SimulatorError
from simulator.portal.handle import OMIT
from simulator.processes import fork_server
from simulator.supervise import descendants
from tests.conftest import ROOT, is_alive, wait_until

REPOSITORY = Path(__file__).parent.parent.parent


def options(facility: Facility) -> list[str]:
    known = f"UserKnownHostsFile={facility.known_hosts}"
    strict = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]
    return ["-F", "none", "-i", str(facility.key_file), "-o", known, *strict]


def ssh(facility: Facility, command: str) -> list[str]:
    where = ["-p", str(facility.port), "-l", facility.user, facility.host]
    return ["ssh", *options(facility), *where, command]


def said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def bare_folder(place: Path) -> Path:
    return place / "bare"


def test_ssh_sftp_and_rsync_reach_it_as_that_user(facility: Facility, place: Path) -> None:
    source = facility.experiment("mx", "12282a")
    (source / "frame.cbf").write_bytes(b"frame")
    assert said(*ssh(facility, 'id -u; echo "$HOME"')).split() == [
        str(facility.data.stat().st_uid),
        str(facility.folder / "home"),
    ]
    batch = place / "batch"
    batch.write_text(f"ls {source}\n")
    listed = said(
        "sftp", *options(facility), "-P", str(facility.port), "-b", batch,
        "-o", f"User={facility.user}", facility.host,
    )  # fmt: skip
    assert "frame.cbf" in listed
    shell = " ".join(["ssh", "-p", str(facility.port), *options(facility)])
    said(
        "rsync", "-rt", "--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X", "-e", shell,
        f"{facility.user}@{facility.host}:{source}/", place / "copy/",
    )  # fmt: skip
    assert compare_trees(source, place / "copy") == []
    assert f"Accepted publickey for {facility.user}" in facility.sshd_log()


def test_the_files_of_the_account_are_as_ssh_wants_them(facility: Facility) -> None:
    status = facility.key_file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == facility.data.stat().st_uid == (65534 if ROOT else os.getuid())
    begins = f"[127.0.0.1]:{facility.port} ssh-ed25519 "
    assert facility.known_hosts.read_text().startswith(begins)
    assert facility.experiment("mx", "8020l") == facility.data / "mx" / "8020l"
    assert facility.experiment("mx", "8020l").stat().st_uid == status.st_uid


def test_another_key_is_refused(facility: Facility, place: Path) -> None:
    said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "other")
    command = ssh(facility, "true")
    command[command.index(str(facility.key_file))] = str(place / "other")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_stopped_it_ends_its_sessions_and_starts_again_on_the_same_port(
    facility: Facility,
) -> None:
    port = facility.port
    with subprocess.Popen(ssh(facility, "echo $$; exec sleep 600"), stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        session = int(held.stdout.readline())
        assert session in facility.sessions()
        facility.stop_sshd()
        assert facility.sessions() == set()
        assert not is_alive(session)
        assert held.wait(timeout=60) == 255
    facility.stop_sshd()  # once more does no harm
    facility.start_sshd()
    assert facility.port == port
    assert said(*ssh(facility, "echo back")) == "back\n"


def test_nothing_is_left_behind(bare_folder: Path) -> None:
    fork_server("")  # it stays
    before = descendants(os.getpid())
    with Facility(bare_folder) as facility:
        # A session that forks away from its shell, as daemons do.
        said(*ssh(facility, "setsid sleep 600 >/dev/null 2>&1 </dev/null &"))
        during = descendants(os.getpid()) - before
        assert len(during) >= 4  # supervisor, sshd, sleep, portal
    assert not any(map(is_alive, during))
    assert descendants(os.getpid()) <= before


def test_nothing_is_left_behind_when_the_parent_is_killed(bare_folder: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from simulator.facility import Facility\n"
        "with Facility(pathlib.Path(sys.argv[1])) as facility:\n"
        "    print(facility.port, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, bare_folder],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        facility = Facility(bare_folder)
        facility.port = int(parent.stdout.readline())
        with subprocess.Popen(
            ssh(facility, "echo up; exec sleep 600"), stdout=subprocess.PIPE
        ) as held:
            assert held.stdout is not None
            assert held.stdout.readline() == b"up\n"
            below = descendants(parent.pid)
            parent.send_signal(signal.SIGKILL)
            try:
                assert held.wait(timeout=60) == 255
            finally:
                held.kill()
    assert len(below) >= 4
    wait_until(lambda: not any(map(is_alive, below)))


def test_an_orphan_of_a_session_that_ends_does_not_stay_defunct(facility: Facility) -> None:
    command = "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!"
    orphan = int(said(*ssh(facility, command)))
    wait_until(lambda: facility.sessions() == {orphan})  # sshd, its parent, has ended
    os.kill(orphan, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), seconds=20)


@pytest.mark.parametrize(
    ("missing", "package"),
    [("ssh-keygen", "openssh-client"), ("rsync", "rsync"), ("sshd", "openssh-server")],
)
def test_a_missing_program_is_named_with_its_package(
    bare_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    real = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **how: None if name == missing else real(name, **how)
    )
    with pytest.raises(SimulatorError, match=f"install {package}"), Facility(bare_folder):
        pass


def test_a_portal_that_does_not_start_takes_sshd_with_it(bare_folder: Path) -> None:
    fork_server("")  # it stays
    before = descendants(os.getpid())
    nowhere = (bare_folder / "none.pem", bare_folder / "none.key")
    with (
        pytest.raises(SimulatorError, match="the portal does not start"),
        Facility(bare_folder, tls=nowhere),
    ):
        pass
    assert descendants(os.getpid()) <= before


def test_two_at_once_have_ports_of_their_own(facility: Facility, bare_folder: Path) -> None:
    with Facility(bare_folder) as second:
        assert second.port != facility.port
        assert said(*ssh(second, 'echo "$HOME"')).strip() == str(bare_folder / "home")


def test_the_config_file_has_what_it_is_given(facility: Facility, place: Path) -> None:
    path = write_config(
        place / "config.yml", facility,
        destination=place / "home", epn_cap_map={"12282": "ny79"},
        equipment=[{"id": 24}], max_tasks=7, comment=OMIT,
    )  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert "max-tasks: 7" in lines
    assert 'epn_cap_map: {"12282": "ny79"}' in lines
    assert f'source-path: "{facility.data}/{{beamline}}/{{epn}}/"' in lines
    assert not any(line.startswith("comment:") for line in lines)
    (equipment,) = [line for line in lines if line.startswith("equipment:")]
    assert '"id": 24' in equipment and "portal-password-canary" in equipment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_in_the_foreground_it_runs_until_it_is_told_to_end(
    place: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "simulator", place / "new"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        shown = [process.stdout.readline() for _ in range(4)]
        below = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert shown[0].startswith("portal  http://127.0.0.1:")
    assert str(place / "new" / "config.yml") in shown[2]
    assert {item.name for item in (place / "new" / "home-storage").iterdir()} == {"ny79", "kx12"}
    assert below and not any(map(is_alive, below))
