"""Logs that are no files: standard output and error, devices, pipes. They do not rotate."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Written through our own descriptor: a socket, as of the journal, cannot be opened by its path."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_stream(path: Path) -> int | None:
    """A stream, opened to be written; None: the path is that of a file, or of something else.

    Neither this nor a write waits for the reader of a pipe.

    Raises:
        OSError: it cannot be opened.
    """
    if (standard := _STANDARD.get(str(path))) is not None:
        return os.dup(standard)
    try:
        mode = path.stat().st_mode
    except OSError:  # who opens the file says why
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            raise OSError(errno.ENXIO, "it is a pipe that no program reads") from None
        raise
