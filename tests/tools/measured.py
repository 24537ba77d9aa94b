#!/usr/bin/env python3
"""Run a command: `measured.py FILE COMMAND …`; FILE gets the most memory that a process of it took.

In KiB, of the command and of everything that descends from it: what loses its parent comes to us
(a "child subreaper", prctl(2)), and nothing is left when we end.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    command = sys.argv[2:]
    first = os.posix_spawnp(command[0], command, os.environ)
    code = most = 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        most = max(most, usage.ru_maxrss)
        if pid == first:
            code = os.waitstatus_to_exitcode(status)
    Path(sys.argv[1]).write_text(str(most))
    return code if code >= 0 else 128 - code


sys.exit(main())
