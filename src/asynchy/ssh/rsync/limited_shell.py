"""The remote shell of an rsync that keeps to the bandwidth limit.

rsync's own `--bwlimit` is fixed when rsync starts and is of one rsync alone. Here a process stands
between rsync and ssh. It hands over what ssh receives as fast as `BandwidthLimit` allows, and the
server waits meanwhile: SSH lets it send only what was read. rsync starts this process in a folder
with files of the facility, so it must import nothing from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from asynchy.model.bandwidth import BandwidthSpan, BandwidthTimetable
from asynchy.ssh import subprocess_runner
from asynchy.ssh.bandwidth_limit import BandwidthLimit, place_of
from asynchy.ssh.server import Server

_READ_BYTES = 1 << 16
"""Bytes that are read at a time: what a pipe holds."""
_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from asynchy.ssh.rsync.limited_shell import main; sys.exit(main(sys.argv[2:]))"
)


def limited(remote: Server, command: Sequence[str], timetable: BandwidthTimetable) -> list[str]:
    """The command line that runs an ssh so that it keeps to the limit."""
    own_command = Path(__file__).parents[3]
    path = place_of(remote, os.getuid())
    start = [sys.executable, "-I", "-S", "-c", _START, str(own_command), str(path)]
    return [*start, _as_text(timetable), *command]


def _as_text(timetable: BandwidthTimetable) -> str:
    """A timetable as one argument, without blanks and quotes."""
    spans = [[s.limit, sorted(s.days), s.begin, s.end] for s in timetable.spans]
    return json.dumps(spans, separators=(",", ":"))


def _from_text(text: str) -> BandwidthTimetable:
    spans = [
        BandwidthSpan(limit, frozenset(days), begin, end)
        for limit, days, begin, end in json.loads(text)
    ]
    return BandwidthTimetable(tuple(spans))


def main(arguments: Sequence[str]) -> int:
    """Run ssh, hand over what it receives, and end as it ended; its exit code."""
    path, spans, *command = arguments
    limit = BandwidthLimit(Path(path), _from_text(spans))
    ssh = subprocess.Popen(
        subprocess_runner.bound_to_parent(command, parent=os.getpid()),
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    os.set_blocking(1, True)
    os.close(0)  # it is ssh's: rsync sees that nobody reads any more once ssh has ended
    assert ssh.stdout is not None
    try:
        while data := os.read(
            ssh.stdout.fileno(), min(limit.max_bytes or _READ_BYTES, _READ_BYTES)
        ):
            time.sleep(limit.wait_for(len(data)))
            remote_command = memoryview(data)
            while remote_command:
                remote_command = remote_command[os.write(1, remote_command) :]
    except BrokenPipeError:  # rsync has ended
        ssh.terminate()
    os.close(1)
    code = ssh.wait()
    if code < 0:
        with contextlib.suppress(OSError):  # that of SIGKILL cannot be changed, and need not be
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
