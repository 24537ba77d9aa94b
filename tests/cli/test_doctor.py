"""`asynchy doctor` tries everything for real and says what to do."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import trustme

from simulator.experiments import mx_experiment
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from tests.conftest import Group, Home, give, scripts, wait_until, with_small_disk


def doctor(home: Home) -> subprocess.CompletedProcess[str]:
    return home.doctor()


def prepared(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=10)
    give(home.facility.data)


def test_a_patient_in_good_health(home: Home) -> None:
    prepared(home)
    before = {path.name for path in home.place.rglob("*")}
    found = doctor(home)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAIL" not in found.stdout
    for line in (
        f"ok    config: {home.config}, 1 equipment entry",
        "ok    ssh here: OpenSSH_",
        "note  portal, equipment 23: credentials accepted, but no visit in the last 366 days",
        "ok    clock: ",
        "ok    SFTP service, help@massive.org.au at 127.0.0.1: host key and key accepted, version 3",
        "ok    round trip: ",
        "ok    rsync there: rsync version 3.",
        f"ok    source {home.facility.data}/mx: 1 entry",
        f"ok    destination: {home.storage}, ",
        f"ok    project ny79: {home.storage}/ny79 is writable\n",
        f"ok    ignore.yml: {home.place}/ignore.yml can be written, no list yet",
        f"ok    log sync: {home.place}/logs/sync.log can be written",
        f"ok    log epnalert: {home.place}/logs/epnalert.log can be written",
        f"ok    log email: {home.place}/logs/email.log can be written",
        f"ok    catalogue: {home.place}/catalogue.db, 0 copies known",
        "ok    service: none runs on this catalogue",
        "All checks passed. Ready for the first cycle.",
    ):
        assert line in found.stdout, line
    # A note, where this version may have known holes.
    assert re.search("^(ok  |note)  rsync here: rsync version 3.", found.stdout, re.MULTILINE)
    made = {path.name for path in home.place.rglob("*")} - before
    assert made == set()


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
        "FAIL  portal, equipment 23: the portal refused the credentials",
        "note  portal, equipment 24",
        f"FAIL  source {home.facility.data}/saxs: there is no such folder at the facility",
        f"FAIL  project typo: {home.storage}/typo: No such file or directory",
        f"FAIL  project locked: {home.storage}/locked cannot be written",
        f"note  project plain: {home.storage}/plain is writable, without the setgid bit",
        "Not ready: see FAIL above.",
    ):
        assert line in found.stdout, line
    assert "canary" not in found.stdout + found.stderr


def test_the_mail_server_is_tried_as_for_a_mail_and_gets_none(home: Home, place: Path) -> None:
    prepared(home)
    authority, pem = trustme.CA(), place / "mail.pem"
    mine = authority.issue_cert("127.0.0.1")
    pem.write_bytes(mine.private_key_pem.bytes() + mine.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(str(home.place / "authority.pem"))
    with MailSink(place / "mails", security="starttls", pem=pem, login="me:right") as sink:
        server = f"{sink.host}:{sink.port}"
        keys = {
            "epnalert_email_smtp": server, "epnalert_smtp_security": "starttls",
            "epnalert_smtp_user": "me", "epnalert_smtp_password": "right", "ca_bundle": "authority.pem",
        }  # fmt: skip
        home.configure(**keys)
        found = doctor(home)
        told = f"ok    mail server: {server} answers with STARTTLS, logged in as me; no mail sent"
        assert told in found.stdout, found.stdout + found.stderr
        assert found.returncode == 0
        home.configure(**{**keys, "epnalert_smtp_password": "wrong"})
        refused = doctor(home)
        assert f"FAIL  mail server: {server} refused the user" in refused.stdout
        assert "check epnalert-smtp-user and epnalert-smtp-password" in refused.stdout
        assert sink.mails == []
    home.configure(**keys)
    gone = doctor(home)
    assert gone.returncode == 1
    assert f"FAIL  mail server: {server} cannot be reached: Connection refused" in gone.stdout
    assert "check epnalert-email-smtp" in gone.stdout and "mail is kept" not in gone.stdout


def lock(path: Path) -> None:
    path.chmod(0o555 if path.is_dir() else 0o444)


def state_elsewhere(home: Home) -> Path:
    """Three files of state in folders of their own."""
    place = home.place / "state"
    for name in ("ignore", "logs", "catalogue"):
        (place / name).mkdir(parents=True)
    logs = {name: str(place / "logs" / f"{name}.log") for name in ("sync", "epnalert", "email")}
    home.configure(
        ignore=str(place / "ignore" / "ignore.yml"),
        catalogue=str(place / "catalogue" / "catalogue.db"),
        log_files=logs,
    )
    prepared(home)
    return place


@pytest.mark.parametrize(
    ("folder", "lines"),
    [
        ("ignore", ["ignore.yml: {}/ignore.yml"]),
        ("logs", ["log sync: {}/sync.log", "log epnalert: {}/epnalert.log", "log email: {}/email.log"]),
        ("catalogue", ["catalogue: {}/catalogue.db"]),
    ],
)  # fmt: skip
def test_state_whose_folder_is_closed_or_gone_is_named_with_what_to_do(
    home: Home, folder: str, lines: list[str]
) -> None:
    place = state_elsewhere(home) / folder
    lock(place)
    found = doctor(home)
    assert found.returncode == 1
    for line in lines:
        expected = (
            f"FAIL  {line.format(place)} cannot be written: no permission to write in {place}\n"
        )
        assert f"{expected}      make {place} writable for user " in found.stdout
    assert found.stdout.count("FAIL") == len(lines) + 1  # and the last line

    place.rmdir()
    found = doctor(home)
    for line in lines:
        expected = f"FAIL  {line.format(place)} cannot be written: {place} does not exist\n"
        assert f"{expected}      make the folder {place}" in found.stdout
    assert not place.exists()


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("ignore/ignore.yml", "ignore.yml"), ("ignore/.ignore.yml.lock", "ignore.yml"),
        ("logs/email.log", "log email"), ("logs/.__sync.lock", "log sync"), ("catalogue/catalogue.db", "catalogue"),
    ],
)  # fmt: skip
def test_state_that_is_a_closed_file_is_named_and_stays_as_it_is(
    home: Home, file: str, what: str
) -> None:
    path = state_elsewhere(home) / file
    path.touch()
    give(path.parent)
    lock(path)
    found = doctor(home)
    assert found.returncode == 1
    assert f"FAIL  {what}: {path} cannot be written: no permission\n" in found.stdout
    assert path.read_text() == ""


def test_state_in_a_folder_that_may_not_be_entered_is_named(home: Home) -> None:
    place = state_elsewhere(home) / "logs"
    place.chmod(0)
    found = doctor(home)
    place.chmod(0o755)
    assert found.returncode == 1
    assert f"FAIL  log sync: {place}/sync.log cannot be written: no permission" in found.stdout


def test_state_that_is_a_folder_is_named(home: Home) -> None:
    path = state_elsewhere(home) / "logs" / "sync.log"
    path.mkdir()
    assert f"FAIL  log sync: {path} cannot be written: it is not a file" in doctor(home).stdout


def test_entries_of_ignore_yml_that_mean_nothing_are_named(home: Home) -> None:
    prepared(home)
    ignore = home.place / "ignore.yml"
    ignore.write_text("previouslySynched:\n- 1a\n- 12282a;\n")
    give(ignore)
    found = doctor(home)
    assert found.returncode == 0
    assert f"ok    ignore.yml: {ignore} can be written, 1 entry\n" in found.stdout
    assert f"note  ignore.yml: {ignore}:3: `12282a;` is not an EPN" in found.stdout
    ignore.write_text("previouslySynched: [oops\n")
    found = doctor(home)
    assert found.returncode == 1
    assert f"FAIL  ignore.yml: {ignore}:" in found.stdout
    assert "portal, equipment 23: credentials accepted" in found.stdout  # it goes on


def test_lost_state_is_named_before_a_cycle_meets_it(home: Home) -> None:
    prepared(home)
    home.visit("12282a")
    assert home.once().returncode == 0
    (home.place / "ignore.yml").unlink()
    found = doctor(home)
    assert found.returncode == 1
    assert f"FAIL  state: {home.place}/ignore.yml is missing or empty" in found.stdout
    assert "--new-state" in found.stdout


def test_a_server_that_is_gone_and_a_portal_that_is_gone(home: Home) -> None:
    prepared(home)
    home.facility.stop_sshd()
    home.configure(base_url="http://127.0.0.1:9")
    found = doctor(home)
    assert found.returncode == 1
    assert "FAIL  portal, equipment 23: the portal cannot be reached" in found.stdout
    assert "skip  clock: the portal did not report its time" in found.stdout
    assert "at 127.0.0.1: the server refused the connection" in found.stdout
    assert found.stdout.count("the server refused the connection") == 1
    for what in ("rsync there", f"source {home.facility.data}/mx"):
        assert f"skip  {what}: the same fault as of the SFTP service\n" in found.stdout


@pytest.mark.extra
def test_a_project_folder_without_space_is_named(home: Home) -> None:
    prepared(home)
    folder = home.storage / "ny79"
    found = with_small_disk(
        folder, "mode=2775,size=64k", home.place,
        f"head -c 100000 /dev/zero > {folder}/fill",
        f"{scripts()}/asynchy --config {home.config} doctor",
    )  # fmt: skip
    assert found.returncode == 1
    assert f"FAIL  project ny79: {folder}: no space is free" in found.stdout, found.stdout


@pytest.mark.extra
def test_state_and_logs_without_space_are_named_once(home: Home) -> None:
    place = state_elsewhere(home)
    folders = [f"{place}/{name}" for name in ("ignore", "logs", "catalogue")]
    found = with_small_disk(
        place, "mode=755,size=64k", home.place,
        f"/usr/bin/mkdir {' '.join(folders)}",
        f"head -c 100000 /dev/zero > {place}/fill",
        f"{scripts()}/asynchy --config {home.config} doctor",
    )  # fmt: skip
    assert found.returncode == 1
    assert f"FAIL  state: {folders[0]}: no space is free\n" in found.stdout
    assert found.stdout.count("no space is free") == 1


def test_what_follows_from_a_failure_is_skipped(home: Home) -> None:
    prepared(home)
    (home.place / "catalogue.db").write_bytes(b"rubbish" * 1000)
    home.configure(destination_root_path=str(home.place / "gone"))
    found = doctor(home)
    assert found.returncode == 1
    for line in (
        f"FAIL  catalogue: {home.place}/catalogue.db is damaged",
        "skip  portal: the catalogue cannot be used",
        "skip  SFTP service: the catalogue cannot be used",
        f"FAIL  destination: {home.place}/gone is not there",
        "skip  project ny79: the destination cannot be used",
        "ok    service: none runs on this catalogue",
    ):
        assert line in found.stdout, line


def test_a_machine_without_ssh_is_told_so_once(home: Home) -> None:
    prepared(home)
    tools = home.place / "tools"
    tools.mkdir()
    rsync = shutil.which("rsync")
    assert rsync is not None
    (tools / "rsync").symlink_to(rsync)
    found = home.doctor(environment={"PATH": str(tools)})
    assert "FAIL  ssh here: not installed" in found.stdout
    assert "skip  SFTP service, 127.0.0.1: ssh is not installed" in found.stdout
    assert found.stdout.count("FAIL") == 2  # and the last line


def test_what_nobody_set_up_yet_is_a_note(home: Home) -> None:
    prepared(home)
    home.configure(epn_cap_map={}, epnalert_email_to=OMIT)
    found = doctor(home)
    assert found.returncode == 0
    assert "note  epn_cap_map: empty, so nothing is fetched\n" in found.stdout
    assert "note  mail: epnalert-email-to, epnalert-email-smtp not set, so" in found.stdout
    assert "All checks passed." in found.stdout


def test_how_long_the_facility_keeps_data_is_asked_for_where_it_is_not_set(home: Home) -> None:
    prepared(home)
    without = doctor(home)
    assert "note  retention-days: not set, so nobody is warned" in without.stdout
    home.configure(retention_days={"mx": 90})
    assert "retention-days" not in doctor(home).stdout


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
