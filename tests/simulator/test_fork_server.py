"""Processes that are forked are like those that are started, and end as those do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.fork_server import Forked, ForkServer

_CODE = """
import atexit, os, sys, time, warnings

def show():
    atexit.register(print, "at exit")
    print(sys.argv, os.getcwd(), os.environ["ONLY"], len(os.environ), sys.stdin.read())
    return 3

def refuse():
    sys.exit("refused")

def fail():
    raise ValueError("failed")

def wait():
    time.sleep(600)

def warn():
    warnings.warn("of our own code", DeprecationWarning, stacklevel=1)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    (tmp_path / "asynchy.py").write_text(_CODE)
    made = ForkServer([sys.executable], ["asynchy"], {"PYTHONPATH": str(tmp_path)})
    yield made
    made.close()


def started(server: ForkServer, name: str, folder: Path) -> Forked:
    (folder / "in").write_text("what it reads")
    with (folder / "in").open() as input_, (folder / "out").open("w") as output:
        streams = (input_.fileno(), output.fileno(), output.fileno())
        command = ["program", "-x"]
        environment = {"ONLY": "this"}
        return server.start(
            f"asynchy:{name}", command, streams, folder=folder, environment=environment
        )


def test_a_forked_process_has_the_arguments_folder_environment_and_streams_of_the_request(
    server: ForkServer, tmp_path: Path
) -> None:
    process = started(server, "show", tmp_path)
    assert process.wait(60) == process.poll() == 3
    shown = f"['program', '-x'] {tmp_path} this 1 what it reads\nat exit\n"
    assert (tmp_path / "out").read_text() == shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refuse", "refused"),
        ("fail", "ValueError: failed"),
        ("warn", "DeprecationWarning: of our own code"),
    ],
)
def test_an_error_in_a_forked_process_and_a_warning_of_our_code_end_it_with_1(
    server: ForkServer, tmp_path: Path, name: str, said: str
) -> None:
    assert started(server, name, tmp_path).wait(60) == 1
    assert (tmp_path / "out").read_text().splitlines()[-1] == said


def test_a_forked_process_that_is_killed_has_the_exit_code_of_the_signal(
    server: ForkServer, tmp_path: Path
) -> None:
    process, other = (started(server, "wait", tmp_path) for _ in range(2))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    process.send_signal(signal.SIGKILL)  # its number may be another's by now
    assert other.poll() is None
    server.close()
    os.kill(other.pid, signal.SIGKILL)  # it runs on
