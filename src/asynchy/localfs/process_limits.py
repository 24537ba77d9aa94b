"""The limits that the system sets for this process: the umask, and the number of open files."""

from __future__ import annotations

import contextlib
import re
import resource
from pathlib import Path

_MAX_OPEN_FILES = 65_536
"""Open files that are asked for at most: programs that close all they could have open get slow."""
_STATUS = Path("/proc/self/status")


def umask() -> int:
    """The umask of this process; 0o022 if it is not known.

    umask(2) reports it only by changing it, for all threads.
    """
    with contextlib.suppress(OSError):
        match = re.search(r"^Umask:\s*([0-7]+)$", _STATUS.read_text(), re.MULTILINE)
        if match is not None:
            return int(match[1], 8)
    return 0o022


def raise_limit() -> None:
    """Let this process and its children open as many files as the system lets them.

    Its limit is 1,024 under systemd and in a login shell, and the one that it may be raised to is
    far higher: getrlimit(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
