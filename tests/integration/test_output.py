"""Streams and logs that cannot be written: the work is done, and its exit code is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from tests.conftest import Home, give, wait_until


def prepared(home: Home, epn: str = "12282a") -> Path:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=2, frame_bytes=1000)
    give(source)
    home.visit(epn)
    return source


def redirected(how: str) -> list[str]:
    return ["sh", "-c", f'exec "$@" {how}', "sh"]


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_with_a_stream_that_cannot_be_written_the_work_is_done(home: Home, how: str) -> None:
    source = prepared(home)
    run = home.once(around=redirected(how))
    assert run.returncode == 0, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []
    reasons = {">/dev/full": "No space left on device", ">&-": "it is closed"}
    words = f"Standard output could not be written: {reasons.get(how)}.\n"
    assert run.stderr == (words if how in reasons else "")
    assert "complete" in home.log
    (source / "secret").write_bytes(b"x")
    give(source)
    (source / "secret").chmod(0)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once(around=redirected(how)).returncode == 1


@pytest.mark.parametrize("command", [("mxsync", "--version"), ("asynchy", "--help")])
def test_a_version_or_help_that_cannot_be_written_is_reported(
    home: Home, command: tuple[str, str]
) -> None:
    run = home.program.run(*command, around=redirected(">/dev/full"))
    words = "Standard output could not be written: No space left on device.\n"
    assert (run.returncode, run.stderr) == (0, words)


def test_a_reader_that_has_had_enough_does_not_change_the_exit_code(home: Home) -> None:
    source = prepared(home)
    (source / "secret").write_bytes(b"x")
    give(source)
    (source / "secret").chmod(0)
    run = home.once(around=["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash"])
    assert run.returncode == 1
    assert "Standard output" not in run.stderr


def test_without_the_folder_of_the_log_the_work_is_done_and_that_is_said_once(home: Home) -> None:
    source = prepared(home)
    shutil.rmtree(home.place / "logs")
    run = home.once()
    assert run.returncode == 0
    assert run.stderr.count("logs/sync.log cannot be written: No such file or directory") == 1
    assert compare_trees(source, home.copy("12282a")) == []
    doctor = home.doctor()
    assert doctor.returncode == 1
    assert "FAIL  log sync" in doctor.stdout


def doctor_of(home: Home) -> subprocess.CompletedProcess[str]:
    return home.doctor()


def test_a_log_that_is_a_pipe_which_nobody_reads_is_named_and_the_work_is_done(home: Home) -> None:
    source = prepared(home)
    log = home.place / "logs" / "pipe"
    os.mkfifo(log)
    give(log)
    home.configure(**{"log-files": {"sync": str(log)}})
    run = home.once()
    assert run.returncode == 0
    said = f"{log} cannot be written: it is a pipe that no program reads"
    assert run.stderr.count(said) == 1, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []


def test_doctor_leaves_the_program_that_reads_a_log_waiting(home: Home) -> None:
    prepared(home)
    log = home.place / "logs" / "pipe"
    os.mkfifo(log)
    give(log)
    home.configure(**{"log-files": {"sync": str(log)}})
    with subprocess.Popen(["cat", log], stdout=subprocess.PIPE) as reader:
        found = doctor_of(home)
        try:
            writer = os.open(log, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, b"a line\n")
            os.close(writer)
            assert reader.communicate(timeout=10)[0] == b"a line\n"
        finally:
            reader.kill()
    assert (found.returncode, f"note  log sync: {log} is a pipe\n" in found.stdout) == (0, True)
    log.chmod(0o400)
    closed = doctor_of(home)
    assert closed.returncode == 1
    assert f"FAIL  log sync: {log} cannot be written: no permission" in closed.stdout


@pytest.mark.parametrize("log", ["/dev/stderr", "logs/sync.log"])
def test_where_the_log_is_standard_error_each_line_is_written_once(home: Home, log: str) -> None:
    source = prepared(home)
    (source / "closed").mkdir(mode=0)
    home.configure(**{"log-files": {"sync": log}})
    run = home.once(around=["bash", "-c", f'exec 2>>{home.place}/logs/sync.log; "$@"', "bash"])
    (source / "closed").rmdir()
    assert run.returncode == 1
    lines = home.log.splitlines()
    assert sum(" WARNING 12282a: stays due: " in line for line in lines) == 1
    assert sum(" INFO plan: 1 experiment" in line for line in lines) == 1


@pytest.mark.parametrize("log", ["/dev/null", "/dev/stderr", "/dev/stdout"])
def test_a_log_that_is_a_stream_or_a_device_is_written_and_passes_doctor(
    home: Home, log: str
) -> None:
    prepared(home)
    home.configure(**{"log-files": {"sync": log}})
    run = home.once()
    assert run.returncode == 0
    assert "cannot be written" not in run.stderr
    said = " INFO plan: 1 experiment to transfer"
    assert (said in run.stderr, said in run.stdout) == (log == "/dev/stderr", log == "/dev/stdout")
    found = doctor_of(home)
    assert f"ok    log sync: {log} can be written" in found.stdout
    assert found.returncode == 0, found.stdout


def test_a_log_that_is_a_pipe_with_a_reader_gets_the_lines(home: Home) -> None:
    prepared(home)
    log = home.place / "logs" / "pipe"
    os.mkfifo(log)
    give(log)
    home.configure(**{"log-files": {"sync": str(log)}})
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    run = home.once()
    read = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert run.returncode == 0
    assert " INFO 12282a: complete" in read
    assert "cannot be written" not in run.stderr


def test_a_service_goes_on_writing_its_log_once_it_can(home: Home) -> None:
    prepared(home)
    logs = home.place / "logs"
    with home.serving() as service:
        wait_until(lambda: "complete" in home.log)
        logs.rename(home.place / "away")
        prepared(home, "12283a")
        service.send_signal(signal.SIGHUP)  # a cycle now
        wait_until((home.copy("12283a") / ".info").exists)
        logs.mkdir()
        give(logs)
        service.send_signal(signal.SIGHUP)
        wait_until(lambda: (logs / "sync.log").exists() and "missing here" in home.log)
        service.terminate()
        _, said = service.communicate(timeout=60)
    assert said.count("cannot be written") == 1
