"""The SFTP service in trouble: a clear word each, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, mx_experiment
from tests.conftest import (
    PYTHONS,
    SOON,
    Home,
    comes_in_part,
    give,
    interrupt,
    is_alive,
    stop_between_writes,
    wait_until,
)


def prepared(home: Home, *, big: int = 0) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=3, frame_bytes=10_000)
    if big:
        big_sparse_file(source / "frames" / "image.sqfs", big)
    give(source)
    home.visit("12282a")
    return source


def test_a_host_key_that_is_not_known_is_not_accepted(home: Home) -> None:
    prepared(home)
    empty = home.place / "known_hosts"
    empty.write_text("")
    home.configure(known_hosts=str(empty))
    run = home.once()
    assert run.returncode == 4
    assert "the server's host key is not in known_hosts" in run.stdout
    assert empty.read_text() == ""
    assert not home.copy("12282a").exists()


def test_a_host_key_that_changed_is_not_accepted(home: Home) -> None:
    prepared(home)
    other = home.place / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    key = " ".join(other.with_suffix(".pub").read_text().split()[:2])
    known = home.place / "known_hosts"
    known.write_text(f"[127.0.0.1]:{home.facility.port} {key}\n")
    home.configure(known_hosts=str(known))
    run = home.once()
    assert run.returncode == 4
    assert "the server's host key is not the one in known_hosts" in run.stdout


def test_a_key_that_the_server_refuses(home: Home) -> None:
    prepared(home)
    other = home.place / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    home.configure(key_file=str(other))
    run = home.once()
    assert run.returncode == 4
    assert "the server refused the SSH key" in run.stdout


def test_a_key_with_a_passphrase_gives_a_hint_and_no_prompt(home: Home) -> None:
    prepared(home)
    locked = home.place / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked], check=True)
    home.configure(key_file=str(locked))
    run = home.once(limit=60)
    assert run.returncode == 4
    assert "the SSH key" in run.stdout


def test_a_server_that_is_gone(home: Home) -> None:
    prepared(home)
    home.facility.stop_sshd()
    gone = home.once()
    assert gone.returncode == 4
    assert "the server refused the connection" in gone.stdout
    home.facility.start_sshd()
    assert home.once().returncode == 0


@pytest.mark.parametrize("missing", ["rsync", "ssh"])
def test_a_tool_that_is_not_installed_is_named(home: Home, missing: str) -> None:
    prepared(home)
    home.configure(engine="rsync")
    tools = home.place / "bin"
    tools.mkdir()
    for tool in {"rsync", "ssh"} - {missing}:
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    run = home.once(environment={"PATH": str(tools)})
    assert run.returncode == 4
    assert f"{missing} is not installed" in run.stderr
    assert home.ignored == ""


def with_ssh_config(home: Home, lines: str, options: str = "") -> dict[str, str]:
    """The environment of a site whose ssh_config says that; `options`: of each ssh."""
    config = home.place / "ssh_config"
    config.write_text(f"Host *\n  {lines}\n")
    tools = home.place / "bin"
    tools.mkdir()
    script = tools / "ssh"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *"-F none"*) exec /usr/bin/ssh "$@";; esac\n'
        f'exec /usr/bin/ssh {options} -F {config} "$@"\n'
    )
    script.chmod(0o755)
    give(home.place)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_a_line_of_ssh_config_that_ssh_does_not_take_is_named_once(home: Home) -> None:
    prepared(home)
    home.configure(engine="rsync")
    environment = with_ssh_config(home, "NoSuchOption yes")
    words = f"{home.place}/ssh_config: line 2: Bad configuration option: nosuchoption"
    assert (
        f"ssh does not take its configuration: {words}" in home.once(environment=environment).stdout
    )
    doctor = home.doctor(environment=environment).stdout
    assert doctor.count(words) == 1
    assert doctor.count("the same fault as of the SFTP service") == 2


def test_the_sites_ssh_config_wins(home: Home) -> None:
    prepared(home)
    home.configure(engine="rsync")  # it logs what ssh says
    environment = with_ssh_config(home, "Ciphers aes256-ctr", "-v")
    run = home.once(environment=environment)
    assert run.returncode == 0, run.stderr
    assert "cipher: aes256-ctr" in home.log
    assert "cipher: aes128-gcm" not in home.log


def test_aes_gcm_is_used_where_the_site_has_not_chosen(home: Home) -> None:
    prepared(home)
    home.configure(engine="rsync")  # it logs what ssh says
    tools = home.place / "bin"
    tools.mkdir()
    script = tools / "ssh"
    script.write_text('#!/bin/sh\nexec /usr/bin/ssh -v "$@"\n')
    script.chmod(0o755)
    give(home.place)
    run = home.once(environment={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert run.returncode == 0, run.stderr
    assert "cipher: aes128-gcm@openssh.com" in home.log


def test_sftp_alone_needs_no_rsync_at_home(home: Home) -> None:
    prepared(home)
    tools = home.place / "bin"
    tools.mkdir()
    (tools / "ssh").symlink_to("/usr/bin/ssh")
    assert home.once(environment={"PATH": str(tools)}).returncode == 0


ENGINES = ["sftp", pytest.param("rsync", marks=pytest.mark.extra)]


@contextmanager
def in_mid_transfer(home: Home, engine: str) -> Iterator[subprocess.Popen[str]]:
    home.configure(engine=engine, bandwidth_limit="60 MB")
    with home.serving("--once") as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        home.configure(engine=engine)
        yield process


def helpers(home: Home, process: subprocess.Popen[str]) -> list[int]:
    """The processes that do the transfer."""
    found = {pid for name in ("rsync", "ssh", *PYTHONS) for pid in home.children(process, name)}
    return sorted(found - {process.pid})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="TERM"),
        pytest.param(signal.SIGINT, 130, id="INT", marks=pytest.mark.extra),
    ],
)
def test_stopped_in_mid_transfer_it_ends_within_seconds_and_resumes(
    home: Home, number: signal.Signals, code: int, engine: str
) -> None:
    source = prepared(home, big=2**29)
    with in_mid_transfer(home, engine) as process:
        children = helpers(home, process)
        ended, seconds = interrupt(process, number)
    assert children
    assert ended == code
    assert seconds < SOON
    wait_until(lambda: not any(map(is_alive, children)))  # the kernel kills some of them after it
    assert home.ignored == ""
    assert home.status("12282a")[0]["history"][0]["verdict"] == "stopped"

    again = home.once()
    assert again.returncode == 0, again.stderr
    assert compare_trees(source, home.copy("12282a")) == []
    history = home.status("12282a")[0]["history"]
    assert history[1]["bytes"] < 2**29


@pytest.mark.parametrize("engine", ENGINES)
def test_asked_twice_it_stops_at_once(home: Home, engine: str) -> None:
    prepared(home, big=2**29)
    with in_mid_transfer(home, engine) as process:
        children = helpers(home, process)
        for child in children:
            os.kill(child, signal.SIGSTOP)  # it will not hear SIGTERM
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in home.log)  # two signals at once may count as one
        ended, _ = interrupt(process, signal.SIGTERM)
    assert ended == 143
    # Asked once it waits five seconds for them; two more go by until a stopped fork server is given up.
    assert time.monotonic() - began < (7 if engine == "sftp" else 5)
    wait_until(lambda: not any(map(is_alive, children)))


def test_a_copy_is_never_worked_on_twice(home: Home) -> None:
    prepared(home, big=2**29)
    with in_mid_transfer(home, "sftp") as process:
        # It would be done before a slow machine has looked.
        stop_between_writes(process.pid, home.place / "catalogue.db")
        second = home.once()
        assert second.returncode == 1
        assert f"another process works on it: process {process.pid} on " in second.stdout
        assert home.status()[0]["claim"]["pid"] == process.pid
        process.send_signal(signal.SIGCONT)
        ended, _ = interrupt(process, signal.SIGTERM)
    assert ended == 143
    assert home.status()[0]["claim"] is None


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_project_folder_that_may_not_be_written_is_named(home: Home, engine: str) -> None:
    prepared(home)
    home.configure(engine=engine)
    locked = home.storage / "ny79"
    locked.chmod(0o555)
    run = home.once()
    locked.chmod(0o2775)
    assert run.returncode == 1
    said = run.stdout.replace("\n", " ")
    assert f"{locked}/12282a: no permission to write at the destination (EACCES)" in said
    assert "make the project folder writable" in said


def test_a_key_file_that_is_a_folder_is_called_a_folder_by_every_command(home: Home) -> None:
    prepared(home)
    home.configure(key_file=str(home.storage), catalogue=str(home.place / "catalogue.db"))
    said = f"the key file {home.storage} is a folder"
    for command, code in (
        (("asynchy", "config", "check"), 3),
        (("asynchy", "doctor"), 1),
        (("mxsync", "--execute", "--once"), 4),
        (("asynchy", "walk"), 4),
        (("asynchy", "sync", "--dest", str(home.storage)), 6),
    ):
        run = home.program.run(command[0], "--config", home.config, *command[1:])
        told = " ".join((run.stdout + run.stderr).split())
        assert run.returncode == code, told
        assert said in told and "name a file with `key-file`" in told, told
        assert "others may read" not in told, told
