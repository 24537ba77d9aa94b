"""mxsync as a service: real processes, real signals."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, mx_experiment
from tests.conftest import SOON, Home, comes_in_part, give, interrupt, is_alive, wait_until


def prepared(home: Home, epn: str = "12282a", *, big: int = 0, **keys: Any) -> Path:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=2, frame_bytes=5000)
    if big:
        big_sparse_file(source / "frames" / "image.sqfs", big)
    give(source)
    home.visit(epn)
    if keys:
        home.configure(**keys)
    return source


def said(home: Home, text: str, times: int = 1) -> Callable[[], bool]:
    path = home.place / "logs" / "sync.log"
    return lambda: path.exists() and path.read_text().count(text) >= times


def test_it_runs_a_cycle_waits_and_ends_cleanly(home: Home) -> None:
    source = prepared(home)
    with home.serving() as process:
        wait_until(said(home, "next look in 24 h"))
        assert compare_trees(source, home.copy("12282a")) == []
        shown = home.program.run("asynchy", "--config", home.config, "status")
        assert "mxsync runs since" in shown.stdout
        assert f"process {process.pid} on" in shown.stdout
        wait_until(
            lambda: (
                "waiting, next look"
                in home.program.run("asynchy", "--config", home.config, "status").stdout
            )
        )
        code, seconds = interrupt(process, signal.SIGTERM)
    assert code == 0
    assert seconds < SOON
    after = home.program.run("asynchy", "--config", home.config, "status")
    assert "mxsync does not run; last heartbeat" in after.stdout


def test_sighup_starts_a_cycle_now(home: Home) -> None:
    prepared(home)
    with home.serving() as process:
        wait_until(said(home, "next look in"))
        late = prepared(home, "12283b")
        process.send_signal(signal.SIGHUP)
        wait_until(said(home, "next look in", 2))
        assert compare_trees(late, home.copy("12283b")) == []
        assert interrupt(process, signal.SIGINT)[0] == 0


@pytest.mark.parametrize("arguments", [(), ("--once",)], ids=["service", "once"])
def test_sighup_while_a_command_is_loaded_does_not_kill_it(
    home: Home, arguments: tuple[str, ...]
) -> None:
    prepared(home)
    with home.serving(*arguments) as process:
        wait_until(lambda: hears_hangup(process.pid))  # the first line of ours that runs
        process.send_signal(signal.SIGHUP)
        if not arguments:
            wait_until(said(home, "next look in"))
            assert interrupt(process, signal.SIGTERM)[0] == 0
        else:
            process.communicate(timeout=60)
            assert process.returncode == 129  # it has stopped, as when its terminal is closed


@pytest.mark.extra
@pytest.mark.parametrize("after", [0.05, 0.1, 0.2, 0.3])
def test_sighup_soon_after_the_start_of_the_service_does_not_kill_it(
    home: Home, after: float
) -> None:
    prepared(home)
    with home.serving() as process:
        wait_until(lambda: hears_hangup(process.pid))
        time.sleep(after)  # whatever it does by then
        process.send_signal(signal.SIGHUP)
        wait_until(said(home, "next look in"))
        assert interrupt(process, signal.SIGTERM)[0] == 0


def hears_hangup(pid: int) -> bool:
    """Whether a process has a handler for SIGHUP: proc(5), SigCgt."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = status.partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def test_a_second_service_says_who_runs_and_exits(home: Home) -> None:
    prepared(home)
    with home.serving() as process:
        wait_until(said(home, "next look in"))
        second = home.mxsync("--execute")
        assert second.returncode == 5
        assert (
            f"a service runs on {home.place}/catalogue.db already: process {process.pid} on "
            in second.stderr
        )
        restore = asynchy(home, "catalogue", "restore", home.place / "any.db")
        assert restore.returncode == 5
        assert "stop the service first" in restore.stderr and "may run too" not in restore.stderr
        assert home.once().returncode == 0
    assert not is_alive(process.pid)
    with home.serving() as third:
        wait_until(said(home, "next look in", 2))
        assert interrupt(third, signal.SIGTERM)[0] == 0


def test_an_incomplete_cycle_is_tried_again_sooner_and_what_was_fine_is_not_asked_again(
    home: Home,
) -> None:
    prepared(home, equipment=[{"id": 23}, {"id": 24}], retry_minutes=0.02)
    home.facility.portal.set_fault("status", code=404, equipment=24, path="visits", times=2)
    with home.serving() as process:
        wait_until(said(home, "next look in 24 h"))
        assert interrupt(process, signal.SIGTERM)[0] == 0
    assert "next look in 1.2 s" in home.log
    assert "next look in 2.4 s" in home.log
    asked = [
        item.equipment for item in home.facility.portal.requests() if item.path.endswith("visits")
    ]
    assert asked.count(23) == 2  # the present, and the days before; both once
    assert asked.count(24) == 2 + 2
    assert "12282a" in home.ignored
    verdicts = [attempt["verdict"] for attempt in home.status("12282a")[0]["history"]]
    assert verdicts[0] == "transferred" and verdicts[-1] == "complete"


def test_a_changed_config_comes_into_force_and_a_broken_one_does_not(home: Home) -> None:
    prepared(home)
    with home.serving() as process:
        wait_until(said(home, "next look in 24 h"))
        good = home.config.read_text()
        home.config.write_text(good.replace("max-tasks: 2", "max-tasks: none"))
        process.send_signal(signal.SIGHUP)
        wait_until(said(home, "the old one stays"))
        wait_until(said(home, "next look in 24 h", 2))
        home.config.write_text(good.replace("sync-frequency-hours: 24", "sync-frequency-hours: 12"))
        wait_until(said(home, "next look in 12 h"))
        assert interrupt(process, signal.SIGTERM)[0] == 0
    assert "max-tasks: found 'none'" in home.log


def test_trouble_is_told_in_the_status_and_passes(home: Home) -> None:
    prepared(home)
    ignore = home.place / "ignore.yml"
    ignore.write_text("previouslySynched: [oops\n")
    give(ignore)

    def status() -> str:
        return home.program.run("asynchy", "--config", home.config, "status").stdout

    with home.serving() as process:
        wait_until(said(home, "the cycle failed"))
        wait_until(lambda: "ignore.yml" in status())
        ignore.write_text("previouslySynched: []\n")
        process.send_signal(signal.SIGHUP)
        wait_until(said(home, "next look in 24 h"))
        wait_until(lambda: "latest cycle" not in status())
        assert interrupt(process, signal.SIGTERM)[0] == 0
    assert "12282a" in home.ignored


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="TERM"),
        pytest.param(signal.SIGINT, id="INT", marks=pytest.mark.extra),
    ],
)
def test_stopped_in_mid_transfer_it_keeps_what_was_moved(
    home: Home, number: signal.Signals
) -> None:
    source = prepared(home, big=2**29)
    home.configure(bandwidth_limit="60 MB")
    with home.serving() as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        children = home.children(process, "ssh")
        code, seconds = interrupt(process, number)
    assert (code, seconds < SOON) == (0, True)
    assert children
    wait_until(lambda: not any(map(is_alive, children)))  # the kernel kills them after it
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []
    history = home.status("12282a")[0]["history"]
    assert [attempt["verdict"] for attempt in history] == ["stopped", "complete"]
    assert history[1]["bytes"] < 2**29


def test_systemd_is_told(home: Home) -> None:
    prepared(home, big=2**29)
    address = home.place / "notify"
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        address.chmod(0o777)
        listener.settimeout(60)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"}
        with home.serving(environment=environment) as process:
            while not any("waiting" in message for message in heard):
                heard.append(listener.recv(4096).decode())
            process.send_signal(signal.SIGTERM)
            while heard[-1] != "STOPPING=1":
                heard.append(listener.recv(4096).decode())
            process.communicate(timeout=60)
    assert heard[0] == "READY=1"
    assert any("WATCHDOG=1" in message for message in heard)
    assert any(
        message.startswith("STATUS=12282a ") and " % of 537 MB, " in message for message in heard
    )
    assert any("STATUS=waiting, next look " in message for message in heard)


HANGING_FILE_SYSTEM = """
import os, time

opened = os.open


def open_that_hangs(path, *arguments, **options):
    while str(path).endswith("ignore.yml") and os.path.exists({!r}):
        time.sleep(0.05)
    return opened(path, *arguments, **options)


os.open = open_that_hangs
"""


@pytest.mark.extra
def test_a_loop_that_hangs_gives_no_sign_of_life_and_ends_by_saying_where(home: Home) -> None:
    prepared(home)
    address = home.place / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        address.chmod(0o777)
        listener.settimeout(60)
        hangs = home.place / "hangs"
        hook = home.place / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(HANGING_FILE_SYSTEM.format(str(hangs)))
        give(home.place)
        environment = {
            "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "3000000", "PYTHONPATH": str(hook),
        }  # fmt: skip
        with home.serving(environment=environment) as process:
            while "waiting, next look" not in listener.recv(4096).decode():
                pass
            while listener.recv(4096) != b"WATCHDOG=1":  # a loop that has to wait for a processor
                pass
            hangs.touch()
            process.send_signal(signal.SIGHUP)
            silent = 0  # status lines since the latest sign of life
            while silent < 5:
                message = listener.recv(4096)
                assert message[:7] in (b"STATUS=", b"WATCHDO")
                silent = 0 if message == b"WATCHDOG=1" else silent + 1
            process.send_signal(signal.SIGABRT)  # what systemd sends then
            _, told = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGABRT
    assert "ignore_file.py" in told and "daemon.py" in told


def test_log_lines_as_json(home: Home) -> None:
    prepared(home)
    run = home.mxsync("--execute", "--once", "--log-format", "json")
    assert run.returncode == 0
    lines = [json.loads(line) for line in home.log.splitlines()]
    assert {"time", "level", "logger", "message", "pid"} <= lines[0].keys()
    assert any("complete" in line["message"] for line in lines)


def test_paused_in_mid_transfer_it_goes_on_where_it_was_once_it_is_resumed(home: Home) -> None:
    source = prepared(home, big=2**29)
    home.configure(bandwidth_limit="60 MB")
    with home.serving() as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        paused = asynchy(home, "pause", "--reason", "the array is rebuilt", "--for", "2h")
        assert paused.returncode == 0
        assert "(the array is rebuilt)" in paused.stdout
        wait_until(said(home, "transfers end, and go on after `asynchy resume`"))
        wait_until(lambda: "paused since" in asynchy(home, "status").stdout)
        assert "the array is rebuilt" in asynchy(home, "status").stdout
        refused = asynchy(home, "now")
        assert (refused.returncode, "is paused since" in refused.stderr) == (1, True)
        once = home.once()
        assert (once.returncode, "`asynchy resume` ends the pause" in once.stderr) == (1, True)
        home.configure()
        assert "begins a cycle within seconds" in asynchy(home, "resume").stdout
        wait_until(said(home, "next look in"))
        assert interrupt(process, signal.SIGTERM)[0] == 0
    assert compare_trees(source, home.copy("12282a")) == []
    history = home.status("12282a")[0]["history"]
    assert [attempt["verdict"] for attempt in history] == ["stopped", "complete"]
    assert history[1]["bytes"] < 2**29


def test_paused_between_two_cycles_it_begins_none_until_it_is_resumed(home: Home) -> None:
    prepared(home)
    with home.serving() as process:
        wait_until(said(home, "next look in"))
        assert asynchy(home, "pause").returncode == 0
        wait_until(lambda: "paused since" in asynchy(home, "status").stdout)
        late = prepared(home, "12283b")
        process.send_signal(signal.SIGHUP)
        wait_until(said(home, "asked to look now"))
        assert not home.copy("12283b").exists()
        assert asynchy(home, "resume").returncode == 0
        wait_until(said(home, "next look in", 2))
        assert compare_trees(late, home.copy("12283b")) == []
        assert interrupt(process, signal.SIGTERM)[0] == 0
    assert asynchy(home, "resume").stdout == "mxsync was not paused.\n"


def test_now_begins_a_cycle_of_the_running_service(home: Home) -> None:
    prepared(home)
    before = asynchy(home, "now")
    assert (before.returncode, "mxsync does not run" in before.stderr) == (5, True)
    with home.serving() as process:
        wait_until(said(home, "next look in"))
        late = prepared(home, "12283b")
        assert f"process {process.pid}" in asynchy(home, "now").stdout
        wait_until(said(home, "next look in", 2))
        assert compare_trees(late, home.copy("12283b")) == []
        assert interrupt(process, signal.SIGTERM)[0] == 0


def test_a_pause_is_shown_by_all_that_people_look_at_also_if_no_service_runs(home: Home) -> None:
    prepared(home)
    assert "mxsync does not run now." in asynchy(home, "pause", "--reason", "disk move").stdout
    assert "mxsync is paused since" in asynchy(home, "status").stdout
    doctor = asynchy(home, "doctor")
    assert (doctor.returncode, "FAIL  pause: mxsync is paused since" in doctor.stdout) == (1, True)
    mail = home.program.run("epnalert", "--config", home.config, "--dry-run")
    assert "mxsync is paused since" in mail.stdout and "(disk move)" in mail.stdout
    activity = asynchy(home, "report", "activity")
    assert (activity.returncode, "mxsync is paused since" in activity.stdout) == (1, True)
    assert asynchy(home, "catalogue", "backup").returncode == 0
    assert asynchy(home, "resume").returncode == 0
    assert "paused" not in asynchy(home, "status").stdout
    restored = asynchy(home, "catalogue", "restore")
    assert "In this backup, mxsync is paused since" in restored.stdout


def test_the_logs_of_an_epn_are_its_lines_alone_in_order(home: Home) -> None:
    prepared(home)
    nothing = asynchy(home, "logs", "12282a")
    assert (nothing.returncode, "there is no log yet" in nothing.stderr) == (5, True)
    assert home.once().returncode == 0
    log = home.place / "logs" / "sync.log"
    older = log.with_name("sync.log.1")
    older.write_text("2020-01-01T00:00:00+00:00 INFO 12282a: begins\n2020 INFO 112282a: begins\n")
    give(older)
    lines = asynchy(home, "logs", "12282A").stdout.splitlines()
    assert lines[0] == "2020-01-01T00:00:00+00:00 INFO 12282a: begins"
    assert all("12282a" in line and "112282a" not in line for line in lines)
    assert any("complete; moved" in line for line in lines)
    last = asynchy(home, "logs", "12282a", "--lines", "1").stdout.splitlines()
    assert last == lines[-1:]
    other = asynchy(home, "logs", "77a")
    assert (other.returncode, "names 77a" in other.stderr) == (5, True)


def asynchy(home: Home, *arguments: str) -> Any:
    return home.program.run("asynchy", "--config", home.config, *arguments)


def test_a_single_cycle_tells_how_far_it_is(home: Home) -> None:
    source = prepared(home, big=2**27, bandwidth_limit="16 MB")
    there = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    command = ("asynchy", "--config", home.config, "status", "--json")

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(home.program.run(*command).stdout)
        return found if any(row["progress"] for row in found["copies"]) else {}

    with home.serving("--once") as process:
        found = wait_until(told)
        (row,) = found["copies"]
        progress = row["progress"]
        assert progress["doing"] == "fetching" and 2**27 < progress["bytes"] <= there
        assert 0 < progress["bytes_done"] < progress["bytes"]
        assert found["service"] is None and row["claim"]["pid"] == process.pid
        assert [one["epn"] for one in found["due"]] == ["12282a"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert json.loads(home.program.run(*command).stdout)["copies"][0]["progress"] is None
