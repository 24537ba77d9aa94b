"""Runs a command to its end, or to the cap, and tells what it took: `measured.py CAP COMMAND…`.

A process of its own that takes in whatever the command leaves behind, so that the CPU time of all
its processes counts, and none goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 5.0


def main(cap: float, command: list[str]) -> None:
    """Run it; JSON on standard output: seconds, CPU seconds, and the exit code or null."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    began, before = time.monotonic(), os.times()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        print(process.pid, flush=True)
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(cap)
        seconds = time.monotonic() - began
        print(json.dumps({"seconds": seconds, "code": code}), flush=True)
        sys.stdin.readline()  # what has arrived is counted before anything is tidied up
        _end(process)
    after = os.times()
    cpu = after.children_user + after.children_system
    print(cpu - before.children_user - before.children_system, flush=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if found == process.pid:
            process.returncode = 0
        if not found:
            if time.monotonic() > deadline:
                for pid in _children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _children() -> list[int]:
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children") as file:  # noqa: PTH123 - started 300 times
        return [int(word) for word in file.read().split()]


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
