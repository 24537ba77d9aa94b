"""Run a command and leave nothing of it behind.

The parent holds our standard input open. When it closes (the parent is done, or was killed) or
SIGTERM comes, everything that descends from the command is killed. Descendants that lost their
parent come to us (a "child subreaper", prctl(2)), so none gets away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command of the arguments until it ends by itself, or SIGTERM comes.

    SIMULATOR_USER, as `uid:gid`, is the user that it runs as, if not ours.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    stop_requested = False

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stop_requested
        stop_requested = True

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    user, group = _user()
    with subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    ) as process:
        while process.returncode is None and not stop_requested:
            _reap(process)
            if select.select([sys.stdin], [], [], 0.05)[0] and not os.read(0, 1024):
                break
        _kill_descendants(process)
        process.wait()
    return 0


def _user() -> tuple[int, int] | tuple[None, None]:
    wanted = os.environ.get("SIMULATOR_USER")
    if not wanted:
        return None, None
    user, group = map(int, wanted.split(":"))
    return user, group


def _reap(process: subprocess.Popen[bytes]) -> bool:
    """Wait for all children that have ended; whether others are left.

    Orphans that came to us would stay defunct. The status of the command is left to its Popen.
    """
    try:
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == process.pid:
                process.wait()
            else:
                os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        return False
    return True


def _kill_descendants(process: subprocess.Popen[bytes]) -> None:
    """Kill all that descends from this process, until nothing is left."""
    deadline = time.monotonic() + 30
    while _reap(process) and time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def descendants(root: int) -> set[int]:
    """The processes below a process, without the dead."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            parents[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in found | {root}} - found:
        found |= more
    return found
