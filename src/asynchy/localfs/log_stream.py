"""Logs that are no files: standard output and error, devices, pipes. They do not rotate."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_ERROR = 2
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": _ERROR}
"""Written through our own descriptor: a socket, as of the journal, cannot be opened by its path."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_pipe(path: Path) -> bool:
    """Whether it is a named pipe. To open and close one ends the program that reads it."""
    try:
        return str(path) not in _STANDARD and stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def is_standard_error(path: Path) -> bool:
    """Whether what is written to a path comes where our standard error leads."""
    if str(path) in _STANDARD:
        return _STANDARD[str(path)] == _ERROR
    try:
        return os.path.samestat(path.stat(), os.fstat(_ERROR))
    except OSError:
        return False


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
    except OSError:  # opening the file reports why
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            raise OSError(errno.ENXIO, "it is a pipe that no program reads") from None
        raise
