"""`asynchy doctor` tries everything for real and says what to do."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from simulator.experiments import mx_experiment
from tests.conftest import Group, Home, give, wait_until


def doctor(home: Home) -> subprocess.CompletedProcess[str]:
    return home.program.run("asynchy", "--config", home.config, "doctor")


def prepared(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=10)
    give(home.facility.data)


def test_a_patient_in_good_health(home: Home) -> None:
    prepared(home)
    found = doctor(home)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAIL" not in found.stdout
    for line in (
        f"ok    config: {home.config}, 1 equipment entry",
        "ok    rsync here: rsync version 3.",
        "ok    ssh here: OpenSSH_",
        "ok    portal, equipment 23: credentials accepted, 0 current visits",
        "ok    clock: ",
        "ok    SFTP service, help@massive.org.au at 127.0.0.1: host key and key accepted, version 3",
        "ok    round trip: ",
        "ok    rsync there: rsync version 3.",
        f"ok    source {home.facility.data}/mx: 1 entry",
        f"ok    destination: {home.storage}, ",
        f"ok    project ny79: {home.storage}/ny79 is writable\n",
        f"ok    catalogue: {home.place}/catalogue.db, 0 copies known",
        "ok    service: none runs on this catalogue",
        "Ready for the first cycle.",
    ):
        assert line in found.stdout, line
    assert not (home.place / "catalogue.db").exists()


def test_everything_that_can_be_wrong(home: Home) -> None:
    prepared(home)
    (home.storage / "locked").mkdir()
    plain = home.storage / "plain"
    plain.mkdir()
    give(plain)
    home.configure(
        equipment=[{"id": 23, "password": "wrong"}, {"id": 24, "beamline": "saxs"}],
        epn_cap_map={"1": "ny79", "2": "typo", "3": "locked", "4": "plain"},
    )
    lock(home.storage / "locked")
    found = doctor(home)
    assert found.returncode == 1
    for line in (
        "FAIL  portal, equipment 23: equipment 23: the portal refused the credentials",
        "ok    portal, equipment 24",
        f"FAIL  source {home.facility.data}/saxs: there is no such folder at the facility",
        f"FAIL  project typo: {home.storage}/typo: No such file or directory",
        f"FAIL  project locked: {home.storage}/locked cannot be written",
        f"ok    project plain: {home.storage}/plain is writable, without the setgid bit",
        "Not ready: see FAIL above.",
    ):
        assert line in found.stdout, line
    assert "canary" not in found.stdout + found.stderr


def lock(folder: Path) -> None:
    folder.chmod(0o555)


def test_a_server_that_is_gone_and_a_portal_that_is_gone(home: Home) -> None:
    prepared(home)
    home.facility.stop_sshd()
    home.configure(base_url="http://127.0.0.1:9")
    found = doctor(home)
    assert found.returncode == 1
    assert "FAIL  portal, equipment 23: equipment 23: the portal cannot be reached" in found.stdout
    assert "FAIL  clock: the portal did not tell its time" in found.stdout
    assert "at 127.0.0.1: the server refused the connection" in found.stdout


def test_a_host_key_that_is_not_known(home: Home) -> None:
    prepared(home)
    empty = home.place / "known_hosts"
    empty.write_text("")
    home.configure(known_hosts=str(empty))
    found = doctor(home)
    assert found.returncode == 1
    assert "the server's host key is not in known_hosts" in found.stdout


def test_a_broken_config_and_a_running_service(home: Home) -> None:
    prepared(home)
    with home.program.start("mxsync", "--config", home.config, "--execute") as process:
        wait_until(
            lambda: (home.place / "logs" / "sync.log").exists() and "next look in" in home.log
        )
        found = doctor(home)
        assert (
            f"a service runs on {home.place}/catalogue.db already: process {process.pid}"
            in found.stdout
        )
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    home.config.write_text("beamline: mx\n")
    assert doctor(home).returncode == 3


def test_a_config_of_a_walker_without_a_portal(group: Group) -> None:
    group.experiment("12282a")
    run = group.asynchy("doctor")
    assert run.returncode == 0, run.stdout
    assert "for walks and `asynchy sync`" in run.stdout
    assert f"ok    source {group.facility.data}: 1 entry" in run.stdout
    assert "portal" not in run.stdout
    assert run.stdout.endswith("`asynchy sync` brings it home.\n")
    group.configure(**{"walk-root": "/nowhere"})
    assert "FAIL  source /nowhere: there is no such folder" in group.asynchy("doctor").stdout
