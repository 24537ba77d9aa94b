"""Run a command and leave nothing of it behind: `python -m simulator.supervise -- COMMAND …`.

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


def main(arguments: list[str]) -> int:
    """Run the command until it ends by itself or is no longer wanted.

    SIMULATOR_USER, as `uid:gid`, is the user that it runs as, if not ours.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    user, group = _user()
    with subprocess.Popen(
        arguments[arguments.index("--") + 1 :],
        stdin=subprocess.DEVNULL,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    ) as process:
        while process.poll() is None and not asked:
            if select.select([sys.stdin], [], [], 0.05)[0] and not os.read(0, 1024):
                break
        kill_descendants()
        process.wait()
    return 0


def _user() -> tuple[int, int] | tuple[None, None]:
    wanted = os.environ.get("SIMULATOR_USER")
    if not wanted:
        return None, None
    user, group = map(int, wanted.split(":"))
    return user, group


def kill_descendants() -> None:
    """Kill all that descends from this process, until nothing is left."""
    deadline = time.monotonic() + 30
    while (below := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
