"""Processes of ours that are forked from a fork server: what they hear, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from asynchy.ssh import fork_server
from asynchy.ssh.fork_server import WorkerProcess, wait_for_messages
from tests.conftest import is_alive, wait_until

ECHO = "tests.tools.echo"
PARENT = f"""
from asynchy.ssh.fork_server import Companion
one = Companion({ECHO!r})
one.pipe.send("hello")
print(one.pipe.recv()[0], one._fork_server._process.pid, flush=True)
one.pipe.recv()
"""


@pytest.fixture
def one() -> Iterator[WorkerProcess]:
    made = WorkerProcess(ECHO)
    yield made
    if not made.pipe.closed:
        made.end(0.0)


def asked(one: WorkerProcess, word: str) -> int:
    """Its process, once it has said the word again."""
    one.pipe.send(word)
    assert one.pipe.poll(60)
    process, said = one.pipe.recv()
    assert said == word
    return int(process)


def test_it_hears_and_answers(one: WorkerProcess) -> None:
    assert asked(one, "hello") == asked(one, "again") != os.getpid()
    assert one.alive


def test_the_first_that_says_something_is_heard(one: WorkerProcess) -> None:
    other = WorkerProcess(ECHO)
    other.pipe.send("here")
    assert wait_for_messages([one, other], 60) == [other]
    other.end(0.0)


def test_it_ends_by_itself_and_its_exit_code_is_known(one: WorkerProcess) -> None:
    one.pipe.send("end")
    wait_until(lambda: not one.alive)
    assert one.end(5.0) == 3


def test_one_that_fails_ends_and_is_no_second_fork_server(one: WorkerProcess) -> None:
    one.pipe.send("raise")
    wait_until(lambda: not one.alive)
    assert one.end(5.0) == 1


def test_one_that_does_not_end_is_killed(one: WorkerProcess) -> None:
    process = asked(one, "hang")
    one.ask_to_stop()
    assert one.end(0.1) == -signal.SIGKILL
    assert not is_alive(process)


def test_what_it_still_says_does_not_keep_it_from_ending(one: WorkerProcess) -> None:
    for _ in range(3):
        one.pipe.send("unheard")
    one.pipe.send("end")
    assert one.end(60.0) == 3


def test_it_outlives_the_thread_that_made_it() -> None:
    made: list[WorkerProcess] = []
    thread = threading.Thread(target=lambda: made.append(WorkerProcess(ECHO)))
    thread.start()
    thread.join()
    assert asked(made[0], "hello")
    made[0].end(0.0)


def test_a_fork_server_that_was_killed_is_replaced(one: WorkerProcess) -> None:
    first = asked(one, "hello")
    server = fork_server._fork_servers[ECHO]
    server._process.kill()
    server._process.wait()
    wait_until(lambda: not is_alive(first))  # its children go with it
    assert not one.alive
    other = WorkerProcess(ECHO)
    assert asked(other, "hello") != first
    other.end(0.0)
    assert one.end(0.0) == -1


def test_a_fork_server_that_does_not_answer_for_a_while_keeps_its_other_processes(
    one: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "_REAP_TIMEOUT", 0.1)
    other = WorkerProcess(ECHO)
    process = asked(one, "hello")
    server = fork_server._fork_servers[ECHO]._process.pid
    os.kill(server, signal.SIGSTOP)
    assert one.end(0.0) == -1  # nobody is kept waiting
    wait_until(lambda: not is_alive(process))
    assert asked(other, "still there")
    os.kill(server, signal.SIGCONT)
    monkeypatch.undo()
    third = WorkerProcess(ECHO)  # an answer that came late is not taken for this one's
    assert asked(third, "hello") == third._pid
    assert fork_server._fork_servers[ECHO]._process.pid == server
    other.pipe.send("end")
    assert (other.end(5.0), third.end(0.0)) == (3, -signal.SIGKILL)


def test_a_fork_server_that_was_stopped_is_replaced_when_a_process_is_wanted(
    one: WorkerProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fork_server, "_MESSAGE_TIMEOUT", 0.2)
    first = asked(one, "hello")
    server = fork_server._fork_servers[ECHO]._process.pid
    os.kill(server, signal.SIGSTOP)
    other = WorkerProcess(ECHO)
    assert asked(other, "hello") != first
    assert f"process {server}, which starts the streams, does not answer (it is stopped)" in (
        caplog.text
    )
    other.end(0.0)


@pytest.mark.parametrize("stopped", [False, True])
def test_when_we_are_killed_nobody_lives_on(stopped: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        processes = [int(word) for word in parent.stdout.readline().split()]
        for process in processes if stopped else []:
            os.kill(process, signal.SIGSTOP)
        parent.kill()
    wait_until(lambda: not any(map(is_alive, processes)))
