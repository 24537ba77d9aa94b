"""Run a command and leave nothing of it behind: `python -m simulator.supervise -- COMMAND …`.

The parent holds our standard input open. When it closes (the parent is done, or was killed) or
SIGTERM comes, everything that descends from the command is killed. Descendants that lost their
parent come to us (a "child subreaper", prctl(2)), so none gets away.
"""

from __future__ import annotations

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
    """Run the command until it ends by itself or is no longer wanted."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    user = _user()
    command = arguments[arguments.index("--") + 1 :]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **user) as process:  # type: ignore[call-overload]
        while process.poll() is None and not asked:
            if select.select([sys.stdin], [], [], 0.05)[0] and not os.read(0, 1024):
                break
        kill_descendants()
        process.wait()
    return 0


def _user() -> dict[str, object]:
    wanted = os.environ.get("SIMULATOR_USER")
    if not wanted:
        return {}
    user, group = map(int, wanted.split(":"))
    return {"user": user, "group": group, "extra_groups": []}


def kill_descendants() -> None:
    """Kill all that descends from this process, until nothing is left."""
    deadline = time.monotonic() + 5
    while (below := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
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
        if fields[0] != "Z":
            parents[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in found | {root}} - found:
        found |= more
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
