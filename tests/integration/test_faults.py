"""Faults on the real parts, each ended by an undisturbed cycle after which all is well."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
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
    wait_until,
)

BIG = 2**28


def prepared(home: Home, *, big: int = BIG) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=8, frame_bytes=20_000)
    if big:
        big_sparse_file(source / "zz" / "z-image.sqfs", big)  # after the small files
    give(source)
    home.visit("12282a")
    return source


ENGINES = ["sftp", pytest.param("rsync", marks=pytest.mark.extra)]


def in_mid_transfer(home: Home, engine: str, **keys: object) -> subprocess.Popen[str]:
    """A run whose big file is on its way; it takes seconds, and the next run no limit."""
    home.configure(engine=engine, bandwidth_limit="30 MB", **keys)
    process = home.program.start("mxsync", "--config", home.config, "--execute", "--once")
    wait_until(lambda: comes_in_part(home.copy("12282a")))
    home.configure(engine=engine, **keys)
    return process


def has_open(process: subprocess.Popen[str], path: Path) -> bool:
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            if link.readlink() == path:
                return True
    return False


@pytest.mark.extra
@pytest.mark.parametrize("name", ["rsync", "ssh"])
def test_a_child_of_rsync_is_killed_in_mid_transfer(home: Home, name: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "rsync", streams=1) as process:
        for child in home.children(process, name):
            with suppress(ProcessLookupError):  # it may end with the one before
                os.kill(child, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "12282a" in out and "due: " in out
    assert home.ignored == ""
    last = home.undisturbed(source)
    assert last["files"] <= 1  # the small files had come before the image


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.extra
@pytest.mark.parametrize("name", ["ssh", "stream"])
def test_a_stream_is_killed_in_mid_transfer_and_another_goes_on(home: Home, name: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp", streams=2) as process:  # none of them is sent home
        names = PYTHONS if name == "stream" else ("ssh",)
        children = {pid for each in names for pid in home.children(process, each)} - {process.pid}
        of_streams = [pid for pid in children if parent_of(pid) != process.pid]
        os.kill(max(of_streams), signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert "a stream was lost" in home.log
    (attempt,) = home.status("12282a")[0]["history"]
    assert (attempt["verdict"], attempt["bytes"] < BIG + 2**27) == ("complete", True)
    home.fetched_once(source)


def of_streams(home: Home, process: subprocess.Popen[str], name: str) -> list[int]:
    """The processes of streams, or the ssh of each: the process of a stream is its parent."""
    pythons = {pid for each in PYTHONS for pid in home.children(process, each)}
    ssh = [pid for pid in home.children(process, "ssh") if parent_of(pid) != process.pid]
    ssh = [pid for pid in ssh if parent_of(pid) in pythons]
    return ssh if name == "ssh" else [parent_of(pid) for pid in ssh]


@pytest.mark.extra
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("name", ["ssh", "stream"])
def test_a_stream_that_stands_still_is_ended_after_timeout_and_another_goes_on(
    home: Home, name: str, streams: int
) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp", streams=streams, timeout=4) as process:
        still = max(of_streams(home, process, name))
        os.kill(still, signal.SIGSTOP)
        process.communicate(timeout=100)
    assert process.returncode == 0
    why = "its process stood still for 4 s (it is stopped)"
    assert (why if name == "stream" else "the server sent nothing for 4 s") in home.log
    assert not is_alive(still)
    home.fetched_once(source)


@pytest.mark.extra
@pytest.mark.parametrize(("engine", "name"), [("sftp", "stream"), ("sftp", "ssh"), ("rsync", "")])
def test_a_stop_is_heard_while_a_process_stands_still(home: Home, engine: str, name: str) -> None:
    prepared(home)
    with in_mid_transfer(home, engine, streams=1) as process:
        still = of_streams(home, process, name) if name else home.children(process, "rsync")
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        code, seconds = interrupt(process, signal.SIGTERM)
    assert (code, seconds < SOON) == (143, True)
    assert not any(map(is_alive, still))


@pytest.mark.extra
def test_mxsync_that_was_stopped_for_longer_than_timeout_loses_no_stream(home: Home) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp", streams=2, timeout=4) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(6)  # what it misses is time
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=100)
    assert process.returncode == 0
    assert "stood still" not in home.log
    home.fetched_once(source)


@pytest.mark.extra
@pytest.mark.parametrize("name", ["ssh", "rsync"])
def test_an_rsync_that_stands_still_is_ended_after_timeout(home: Home, name: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "rsync", streams=1, timeout=4) as process:
        still = home.children(process, name)
        os.kill(max(still), signal.SIGSTOP)
        begun = time.monotonic()
        out, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"{name} (process {max(still)}) stood still for " in out
    assert time.monotonic() - begun < 4 + SOON  # not ten times `timeout`
    assert not any(map(is_alive, still))
    assert home.undisturbed(source)["bytes"] < BIG


@pytest.mark.parametrize("engine", ENGINES)
def test_mxsync_is_killed_in_mid_transfer(home: Home, engine: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, engine) as process:
        names = ("rsync", "ssh", *PYTHONS)
        children = [pid for name in names for pid in home.children(process, name)]
        children = [pid for pid in children if pid != process.pid]
        process.kill()
        process.communicate()
    assert children
    wait_until(lambda: not any(map(is_alive, children)))
    last = home.undisturbed(source)
    assert last["bytes"] < BIG  # the image was resumed
    assert home.status("12282a")[0]["history"][0]["verdict"] == "interrupted"


def test_mxsync_is_killed_when_some_of_its_rsyncs_have_ended(home: Home) -> None:
    source = prepared(home, big=0)
    for at in range(30):
        (source / f"scan {at}.h5").write_bytes(os.urandom(4_000_000))
    give(source)
    ended = home.place / "ended"
    ended.mkdir()
    script = f"touch {ended}/$$; [ $(ls {ended} | wc -l) -lt 5 ] || kill -9 $PPID"
    environment = meddling(home, script)
    assert home.once(environment=environment).returncode == -signal.SIGKILL
    copy = home.copy("12282a")
    assert any(copy.glob("scan *.h5")) and not all(
        (copy / f"scan {at}.h5").exists() for at in range(30)
    )
    last = home.undisturbed(source)
    assert 0 < last["bytes"] < 110_000_000
    assert home.status("12282a")[0]["history"][0]["verdict"] == "interrupted"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_was_fetched_in_part_vanishes(home: Home, engine: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, engine) as process:
        interrupt(process, signal.SIGTERM)
    shutil.rmtree(source / "zz")
    assert home.once().returncode == 0
    assert [path.name for path in home.copy("12282a").parent.iterdir()] == ["data"]
    assert not any(home.copy("12282a").rglob(".asynchy*"))
    (home.copy("12282a") / "zz").rmdir()  # what has vanished there stays here
    home.fetched_once(source)


def test_a_file_that_was_fetched_in_part_changes(home: Home) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp") as process:
        interrupt(process, signal.SIGTERM)
    image = source / "zz" / "z-image.sqfs"
    with image.open("r+b") as file:  # of the same size
        file.write(b"other bytes")
    os.utime(image, (1_700_000_000, 1_700_000_000))
    last = home.undisturbed(source)
    assert last["bytes"] >= BIG  # afresh


@pytest.mark.extra
@pytest.mark.parametrize("engine", ENGINES)
def test_the_server_goes_and_comes_back_in_mid_transfer(home: Home, engine: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, engine) as process:
        home.facility.stop_sshd()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "due: " in out
    home.facility.start_sshd()
    assert home.undisturbed(source)["bytes"] < BIG


@pytest.mark.extra
def test_a_connection_is_made_again_when_the_server_is_back_at_once(home: Home) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp") as process:
        process.send_signal(signal.SIGSTOP)  # a slow machine starts sshd after its last try
        home.facility.stop_sshd()
        home.facility.start_sshd()
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    (attempt,) = home.status("12282a")[0]["history"]
    assert attempt["verdict"] == "complete"
    home.fetched_once(source)


@pytest.mark.extra
def test_the_server_is_gone_for_good_in_mid_transfer(home: Home) -> None:
    source = prepared(home)
    with in_mid_transfer(home, "sftp") as process:
        home.facility.stop_sshd()
        process.communicate(timeout=60)
    again = home.once()
    assert again.returncode == 4
    assert "the server refused the connection" in again.stdout
    assert home.ignored == ""
    home.facility.start_sshd()
    assert home.undisturbed(source)["bytes"] < BIG


@pytest.mark.extra
def test_the_server_is_gone_for_ten_seconds_under_the_service(home: Home) -> None:
    source = prepared(home)
    home.configure(retry_minutes=0.05, bandwidth_limit="30 MB")
    with home.serving() as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        home.facility.stop_sshd()
        back = time.monotonic() + 10
        wait_until(lambda: home.log.count("next look in") >= 2 and time.monotonic() > back)
        home.facility.start_sshd()
        wait_until(lambda: "next look in 24 h" in home.log)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    last = home.status("12282a")[0]["history"][-1]
    assert (last["verdict"], last["bytes"] < BIG) == ("complete", True)
    home.fetched_once(source)


@pytest.mark.extra
@pytest.mark.parametrize("engine", ENGINES)
def test_a_connection_that_freezes(home: Home, engine: str) -> None:
    source = prepared(home)
    with in_mid_transfer(home, engine, timeout=4, streams=1) as process:
        frozen = home.facility.sessions()
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        out, _ = process.communicate(timeout=100)
        for pid in frozen:
            os.kill(pid, signal.SIGKILL)
    if engine == "rsync":
        assert process.returncode == 1
        assert "due: " in out
        assert home.undisturbed(source)["bytes"] < BIG
    else:  # other connections are made, which do not freeze
        assert process.returncode == 0
        home.fetched_once(source)


def test_the_catalogue_is_locked_by_another_process(home: Home) -> None:
    source = prepared(home, big=0)
    assert home.mxsync().returncode == 0
    home.undisturbed(source)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    other = sqlite3.connect(home.place / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with home.program.start("mxsync", "--config", home.config, "--execute", "--once") as process:
        wait_until(lambda: has_open(process, home.place / "catalogue.db"))
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for its turn
            process.communicate(timeout=1)
        other.execute("ROLLBACK")
        process.communicate(timeout=60)
    other.close()
    assert process.returncode == 0
    home.fetched_once(source)


@pytest.mark.extra
def test_the_catalogue_stays_locked(home: Home) -> None:
    source = prepared(home, big=0)
    assert home.mxsync().returncode == 0
    home.undisturbed(source)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    other = sqlite3.connect(home.place / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    run = home.once()
    other.close()
    assert run.returncode == 5
    assert "another process keeps it locked; try again" in run.stderr
    home.fetched_once(source)


def test_a_damaged_catalogue_is_rebuilt_as_the_hint_says(home: Home) -> None:
    source = prepared(home, big=0)
    home.configure(backups=0)
    home.undisturbed(source)
    damaged = home.place / "catalogue.db"
    with damaged.open("r+b") as file:
        file.write(b"\0" * 4096)
    run = home.once()
    assert run.returncode == 5
    assert "move the file away" in run.stderr
    assert damaged.read_bytes()[:4096] == b"\0" * 4096
    for path in home.place.glob("catalogue.db*"):
        path.rename(path.with_name(f"damaged-{path.name}"))
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    last = home.undisturbed(source)
    assert last["files"] == 0  # compared, not fetched again


@pytest.mark.extra
def test_ignore_yml_is_broken_by_hand_in_mid_transfer(home: Home) -> None:
    source = prepared(home)
    ignore = home.place / "ignore.yml"
    with in_mid_transfer(home, "sftp") as process:
        ignore.write_text("previouslySynched: [oops\n")
        give(ignore)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "complete" in out and str(ignore) in err
    assert ignore.read_text() == "previouslySynched: [oops\n"
    ignore.write_text("previouslySynched: []\n")
    home.undisturbed(source)
    assert home.status()[0]["attempts"] == 1  # nothing was fetched, or compared, again


def meddling(home: Home, script: str) -> dict[str, str]:
    """An environment whose rsync runs a script at the facility after each transfer."""
    home.configure(engine="rsync")
    tools = home.place / "bin"
    tools.mkdir()
    (tools / "rsync").write_text(
        "#!/bin/sh\n"
        '/usr/bin/rsync "$@"\ncode=$?\n'
        f'case "$*" in *--list-only*|*--version*) ;; *) {script} ;; esac\nexit $code\n'
    )
    (tools / "rsync").chmod(0o755)
    give(home.place)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("[ -e {source}/late ] || echo late > {source}/late", "grows"),
        ("[ -e {flag} ] || {{ echo more >> {source}/.info; touch {flag}; }}", "grows"),
        ("[ -e {flag} ] || {{ : > {source}/.info; touch {flag}; }}", "shrinks"),
        ("rm -rf {source}/home/ada/auto", "vanishes"),
    ],
    ids=["a file appears", "a file grows", "a file shrinks", "files vanish"],
)
def test_what_changes_meanwhile_is_fetched_in_the_same_cycle(
    home: Home, script: str, result: str
) -> None:
    source = prepared(home, big=0)
    script = script.format(source=source, flag=home.place / "flag")
    run = home.once(environment=meddling(home, script))
    # A file that shrank has to be looked at by a person.
    assert run.returncode == (result == "shrinks"), run.stderr
    verdicts = [attempt["verdict"] for attempt in home.status("12282a")[0]["history"]]
    assert verdicts == ["changed", "complete"]
    differences = compare_trees(source, home.copy("12282a"))
    if result == "vanishes":  # what is at home stays
        assert differences and all(line.startswith("not in the source") for line in differences)
        assert home.status("12282a")[0]["history"][1]["files"] == 0
    else:
        assert differences == []
        assert home.status("12282a")[0]["history"][1]["files"] == 1
        kept = home.copy("12282a").with_name("data.asynchy-replaced")
        assert [path.name for path in kept.rglob("*") if path.is_file()] == [
            ".info"
        ] * kept.exists()
        if kept.exists():  # what came first; nobody can tell whether a person has changed it since
            shutil.rmtree(kept)
        home.fetched_once(source)


@pytest.mark.extra
@pytest.mark.parametrize("change", ["grows", "shrinks", "vanishes"])
def test_a_file_that_changes_while_it_comes_is_fetched_in_the_same_cycle(
    home: Home, change: str
) -> None:
    source = prepared(home)
    image = source / "zz" / "z-image.sqfs"
    with in_mid_transfer(home, "sftp") as process:
        if change == "vanishes":
            image.unlink()
        else:
            os.truncate(image, BIG + 5 if change == "grows" else BIG // 2)
        process.communicate(timeout=90)
    assert process.returncode == 0
    verdicts = [attempt["verdict"] for attempt in home.status("12282a")[0]["history"]]
    assert verdicts == ["changed", "complete"]
    if change == "vanishes":
        (home.copy("12282a") / "zz" / "z-image.sqfs").unlink(missing_ok=True)
    home.fetched_once(source)


def test_what_never_stops_changing_stays_due_after_three_tries(home: Home) -> None:
    source = prepared(home, big=0)
    run = home.once(environment=meddling(home, f"echo more >> {source}/.info"))
    assert run.returncode == 1
    assert "it changed at the facility while it was fetched" in run.stdout
    verdicts = [attempt["verdict"] for attempt in home.status("12282a")[0]["history"]]
    assert verdicts == ["changed"] * 3
    assert home.ignored == ""
    # The one that grew; what an earlier cycle brought of it may be a person's by now, and is kept.
    assert home.undisturbed(source, beside=["data.asynchy-replaced"])["files"] == 1


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_files_that_may_not_be_read_at_the_facility_keep_it_due(home: Home, engine: str) -> None:
    source = prepared(home, big=0)
    home.configure(engine=engine)
    (source / "secret.h5").write_bytes(b"x")
    give(source)
    (source / "secret.h5").chmod(0)
    run = home.once()
    assert run.returncode == 1
    assert "may not be read at the facility (EACCES)" in run.stdout
    assert home.ignored == ""
    missing = [line for line in compare_trees(source, home.copy("12282a")) if "missing" in line]
    assert missing == ["missing: 'secret.h5'"]  # all others have come
    (source / "secret.h5").chmod(0o400)
    assert home.undisturbed(source)["files"] == 1


def test_the_destination_cannot_be_written_and_then_can(home: Home) -> None:
    source = prepared(home, big=0)
    assert home.once().returncode == 0
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    shutil.copy2(source / ".info", source / "new.info")
    give(source)
    locked = home.copy("12282a").parent
    locked.chmod(0o500)
    run = home.once()
    assert run.returncode == 1
    said = run.stdout.replace("\n", " ")
    assert (
        f"due: {locked}/.asynchy-data: no permission to write at the destination (EACCES)" in said
    )
    assert "make the project folder writable" in said
    locked.chmod(0o2770)
    assert home.undisturbed(source)["files"] <= 1


@pytest.mark.extra
@pytest.mark.timeout(600)
def test_two_hundred_epns_due_at_once(home: Home) -> None:
    home.configure(max_tasks=4, epn_cap_map={str(20_000 + at): "ny79" for at in range(200)})
    for at in range(200):
        source = home.facility.experiment("mx", f"{20_000 + at}a")
        (source / "frame.cbf").write_bytes(b"%d" % at)
        home.visit(f"{20_000 + at}a")
    give(home.facility.data)
    run = home.once(limit=280)
    assert run.returncode == 0
    assert "200 experiments completed, 0 still due." in run.stdout
    for at in range(200):
        assert (home.copy(f"{20_000 + at}a") / "frame.cbf").read_bytes() == b"%d" % at
    assert home.ignored.count("a # asynchy\n") == 200
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once(limit=280).returncode == 0
    for copy in home.status():
        assert copy["attempts"] == 2 and copy["last"]["files"] == 0
