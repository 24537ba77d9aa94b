"""Streams and logs that cannot be written: the work is done, and its exit code is told."""

from __future__ import annotations

import shutil
import signal
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
    words = "Standard output could not be written: No space left on device.\n"
    assert run.stderr == (words if how == ">/dev/full" else "")
    assert "complete" in home.log
    (source / "secret").write_bytes(b"x")
    give(source)
    (source / "secret").chmod(0)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once(around=redirected(how)).returncode == 1


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
    doctor = home.program.run("asynchy", "--config", home.config, "doctor")
    assert doctor.returncode == 1
    assert "FAIL  log sync" in doctor.stdout


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
