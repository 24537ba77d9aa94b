from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from asynchy.model.cancellation import Stop
from asynchy.ssh import subprocess_runner
from tests.conftest import is_alive, wait_until

NO_END = 100.0
"""Seconds that nothing here may wait for: half of them are enough on the slowest machine."""


def run(
    script: str, stop: Stop | None = None, grace: float = 5
) -> tuple[subprocess_runner.ProcessResult, list[bytes], list[bytes]]:
    out: list[bytes] = []
    err: list[bytes] = []
    ended = subprocess_runner.run(
        ["sh", "-c", script],
        stop=stop or Stop(),
        on_stdout=out.append,
        on_stderr=err.append,
        environment={},
        grace=grace,
    )
    return ended, out, err


@pytest.mark.parametrize("code", [0, 1, 23, 255])
def test_the_exit_code(code: int) -> None:
    assert run(f"exit {code}")[0].code == code


def test_the_end_by_a_signal() -> None:
    assert run("kill -9 $$")[0].code == -signal.SIGKILL


def test_a_command_that_does_not_exist() -> None:
    nothing: list[bytes] = []
    ended = subprocess_runner.run(
        ["/nonexistent/rsync"],
        stop=Stop(),
        on_stdout=nothing.append,
        on_stderr=nothing.append,
        environment={},
    )
    assert ended.code == 127
    assert "No such file" in ended.stderr


def test_both_streams_are_drained_whatever_the_order() -> None:
    ended, out, err = run(
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; seq 100000; echo last >&2; printf end"
    )
    assert ended.code == 0
    assert len(out) == 100_001 and out[-1] == b"end"
    assert sum(map(len, err)) == 3_000_004
    assert ended.stderr.endswith("last")


def test_the_last_words_are_kept() -> None:
    ended, _, err = run("seq 1000 >&2")
    assert len(err) == 1000
    assert ended.stderr.splitlines() == [str(n) for n in range(961, 1001)]


def stopped_after(stop: Stop, ready: Path, times: int = 1) -> threading.Thread:
    def ask() -> None:
        wait_until(ready.exists)
        for _ in range(times):
            stop.request()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_stop_is_heard_within_a_second_even_by_a_silent_child(tmp_path: Path) -> None:
    stop = Stop()
    thread = stopped_after(stop, tmp_path / "ready")
    ended, _, _ = run(f"touch {tmp_path}/ready; exec sleep 100", stop)
    thread.join()
    assert (ended.stopped, ended.code) == (True, -signal.SIGTERM)


def test_asked_twice_a_deaf_child_and_its_children_are_killed_at_once(tmp_path: Path) -> None:
    stop = Stop()
    thread = stopped_after(stop, tmp_path / "ready", times=2)
    began = time.monotonic()
    ended, out, _ = run(
        f"trap '' TERM; sleep 100 & echo $!; touch {tmp_path}/ready; sleep 100", stop, NO_END
    )
    thread.join()
    assert (ended.stopped, ended.code) == (True, -signal.SIGKILL)
    assert time.monotonic() - began < NO_END / 2
    wait_until(lambda: not is_alive(int(out[0])))


def test_children_that_stay_behind_are_ended_and_do_not_hold_us_up(tmp_path: Path) -> None:
    began = time.monotonic()
    ended, out, _ = run("sleep 100 & echo $!; exit 3")
    assert ended.code == 3
    assert time.monotonic() - began < NO_END / 2
    wait_until(lambda: not is_alive(int(out[0])))


def test_what_a_callback_raises_ends_the_child(tmp_path: Path) -> None:
    def refuse(line: bytes) -> None:
        raise ValueError(line.decode())

    with pytest.raises(ValueError, match=r"^[0-9]+$") as caught:
        subprocess_runner.run(
            ["sh", "-c", "echo $$; exec sleep 100"],
            stop=Stop(), on_stdout=refuse, on_stderr=refuse, environment={},
        )  # fmt: skip
    assert not is_alive(int(str(caught.value)))


def test_a_line_without_end_comes_in_pieces() -> None:
    _, out, _ = run("head -c 5000000 /dev/zero | tr '\\0' x")
    assert sum(map(len, out)) == 5_000_000
    assert max(map(len, out)) <= (1 << 20) + (1 << 16)


def test_a_child_does_not_outlive_its_parent() -> None:
    code = (
        "from asynchy.ssh import subprocess_runner; from asynchy.model.cancellation import Stop\n"
        "subprocess_runner.run(['sh', '-c', 'echo $$; exec sleep 100'], stop=Stop(), environment={},\n"
        "          on_stdout=lambda line: print(line.decode(), flush=True), on_stderr=print)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    wait_until(lambda: not is_alive(pid))


def test_a_deaf_child_is_killed_after_the_grace(tmp_path: Path) -> None:
    stop = Stop()
    thread = stopped_after(stop, tmp_path / "ready")
    ended, _, _ = run(f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 1; done", stop, 0.3)
    thread.join()
    assert (ended.stopped, ended.code) == (True, -signal.SIGKILL)
    # From when it was ready: to start it takes seconds on a busy machine.
    assert time.time() - (tmp_path / "ready").stat().st_mtime < 4


def test_a_stop_that_was_asked_before_ends_the_child_at_once() -> None:
    stop = Stop()
    stop.request()
    began = time.monotonic()
    ended, _, _ = run("sleep 100", stop, NO_END)
    assert ended.stopped
    assert time.monotonic() - began < NO_END / 2


def test_a_child_that_closed_its_output_still_hears_the_stop(tmp_path: Path) -> None:
    stop = Stop()
    thread = stopped_after(stop, tmp_path / "ready")
    ended, out, err = run(f"exec >&- 2>&-; touch {tmp_path}/ready; exec sleep 100", stop)
    thread.join()
    assert (ended.stopped, ended.code, out, err) == (True, -signal.SIGTERM, [], [])


def test_a_stop_reaches_the_children_of_the_child(tmp_path: Path) -> None:
    stop = Stop()
    thread = stopped_after(stop, tmp_path / "ready")
    ended, out, _ = run(f"sleep 100 & echo $!; touch {tmp_path}/ready; wait", stop)
    thread.join()
    assert ended.stopped
    wait_until(lambda: not is_alive(int(out[0])))


def test_a_carriage_return_ends_a_line_and_an_end_may_be_missing() -> None:
    assert run("printf 'one\\rtwo\\r\\nthree\\n\\nfour'")[1] == [
        b"one",
        b"two",
        b"three",
        b"",
        b"four",
    ]


def test_no_line_is_longer_than_a_mebibyte() -> None:
    _, out, _ = run("head -c 1200000 /dev/zero | tr '\\0' x")
    assert sum(map(len, out)) == 1_200_000
    assert max(map(len, out)) <= 1 << 20


def test_words_that_are_no_utf8_are_kept_escaped() -> None:
    assert run("printf 'caf\\351\\n' >&2")[0].stderr == "caf\\xe9"


def test_a_child_has_nothing_to_read_and_the_environment_it_was_given() -> None:
    out: list[bytes] = []
    subprocess_runner.run(
        ["sh", "-c", "cat; echo $WORD; echo $HOME"],
        stop=Stop(),
        on_stdout=out.append,
        on_stderr=out.append,
        environment={"WORD": "a word", "HOME": "/elsewhere"},
    )
    assert out == [b"a word", b"/elsewhere"]


def test_a_child_begins_in_an_open_folder_and_runs_no_program_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "was here"
    inside.mkdir()
    program = inside / "uname"
    program.write_text("#!/bin/sh\necho of the facility\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    folder = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    inside.rename(tmp_path / "is there")
    out: list[bytes] = []
    ended = subprocess_runner.run(
        ["sh", "-c", "pwd -P; uname"], stop=Stop(), on_stdout=out.append, on_stderr=out.append,
        environment={}, folder=folder,
    )  # fmt: skip
    os.close(folder)
    assert ended.code == 0
    assert out[0] == os.fsencode(tmp_path.resolve() / "is there")
    assert out[1] == os.uname().sysname.encode()


def test_no_descriptor_stays_open() -> None:
    run("true")
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        run("echo out; echo err >&2; exit 1")
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def shim(parent: int, reported: int) -> subprocess.CompletedProcess[str]:
    # 1: asynchy itself is process 1 where it is the only program of a container
    code = (
        "import os, runpy, sys\n"
        f"os.getppid = lambda: {reported}\n"
        f"sys.argv = ['shim', '15', '{parent}', 'echo', 'ran']\n"
        f"runpy.run_path({str(subprocess_runner._SHIM)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("parent", [1, 4711])
def test_a_child_starts_whatever_the_id_of_its_parent(parent: int) -> None:
    assert shim(parent, parent).stdout == "ran\n"


@pytest.mark.parametrize(("parent", "reported"), [(4711, 1), (4711, 4712), (0, 1)])
def test_a_child_whose_parent_died_meanwhile_does_not_start(parent: int, reported: int) -> None:
    ended = shim(parent, reported)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "")


def test_a_command_reads_more_than_a_pipe_takes_and_answers_meanwhile() -> None:
    names = b"".join(b"%d\0" % number for number in range(300_000))
    out: list[bytes] = []
    ended = subprocess_runner.run(
        ["cat"], stop=Stop(), on_stdout=out.append, on_stderr=out.append, environment={},
        stdin=names, nul_ends=True,
    )  # fmt: skip
    assert ended.code == 0
    assert out == names.rstrip(b"\0").split(b"\0")


def test_a_line_that_a_nul_ends_may_hold_the_ends_of_others() -> None:
    out: list[bytes] = []
    subprocess_runner.run(
        ["printf", "one\\ntwo\\r\\0three\\0"], stop=Stop(), on_stdout=out.append,
        on_stderr=out.append, environment={}, nul_ends=True,
    )  # fmt: skip
    assert out == [b"one\ntwo\r", b"three"]


def test_a_command_that_does_not_read_is_given_nothing_more() -> None:
    ended = subprocess_runner.run(
        ["true"], stop=Stop(), on_stdout=print, on_stderr=print, environment={},
        stdin=bytes(10_000_000),
    )  # fmt: skip
    assert ended.code == 0


@pytest.mark.parametrize(
    "script", ["echo a; sleep 60", "trap '' TERM; echo a; sleep 60 & wait; wait"]
)
def test_a_command_that_is_silent_for_too_long_is_ended(script: str) -> None:
    began = time.monotonic()
    ended = subprocess_runner.run(
        ["sh", "-c", script], stop=Stop(), on_stdout=lambda line: None,
        on_stderr=lambda line: None, environment={}, idle_timeout=0.5, grace=0.5,
    )  # fmt: skip
    assert ended.was_silent and not ended.stopped
    assert time.monotonic() - began < 30


def test_a_command_that_says_something_now_and_then_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by 0.6 s with each line, and by nothing else: it is never late."""
    now = 0.0
    monkeypatch.setattr(
        subprocess_runner, "time", SimpleNamespace(monotonic=lambda: now, sleep=time.sleep)
    )
    out: list[bytes] = []

    def hear(line: bytes) -> None:
        nonlocal now
        now += 0.6
        out.append(line)
        (tmp_path / line.decode()).touch()

    heard = f"until [ -e {tmp_path}/$i ]; do sleep 0.01; done"
    ended = subprocess_runner.run(
        ["sh", "-c", f"for i in 1 2 3 4 5; do echo $i; {heard}; done"],
        stop=Stop(), on_stdout=hear, on_stderr=hear, environment={}, idle_timeout=0.9,
    )  # fmt: skip
    assert (ended.code, ended.was_silent, len(out)) == (0, False, 5)


def still(script: str, timeout: float) -> subprocess_runner.ProcessResult:
    def ignore(_line: bytes) -> None:
        return

    return subprocess_runner.run(
        ["sh", "-c", script],
        stop=Stop(),
        on_stdout=ignore,
        on_stderr=ignore,
        environment={},
        timeout=timeout,
    )


def test_a_process_that_was_stopped_is_named_and_ended_after_timeout() -> None:
    began = time.monotonic()
    ended = still("sleep 1000 & kill -STOP $!; wait", 0.1)
    assert ended.hung_process is not None and " (process " in ended.hung_process
    assert 0.1 <= ended.waited < time.monotonic() - began < NO_END


def test_a_process_that_only_waits_does_not_stand_still() -> None:
    ended = still("sleep 4", 0.1)
    assert (ended.code, ended.hung_process) == (0, None)


def test_what_is_said_of_a_process_that_was_stopped() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        assert not subprocess_runner.state_of(process.pid)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: subprocess_runner.state_of(process.pid) == "it is stopped")
        process.kill()
    assert not subprocess_runner.state_of(process.pid)


def test_much_output_without_a_line_end_comes_whole_in_parts() -> None:
    out: list[bytes] = []
    ended = subprocess_runner.run(
        ["head", "-c", "60000000", "/dev/zero"],
        stop=Stop(),
        on_stdout=out.append,
        on_stderr=out.append,
        environment={},
    )
    assert ended.code == 0
    assert sum(map(len, out)) == 60_000_000
    assert max(map(len, out)) <= 1 << 20
