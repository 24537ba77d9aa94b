"""Standard output and error: whatever becomes of them, the work is done.

Job runners close them, and disks fill that they lead to. Then what was to be written is lost, and
the exit code is still that of the work.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TextIO, cast

_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
_closed: set[int] = set()
"""The numbers of those that were closed when this process began."""


def fill_gaps() -> None:
    """Have something where a stream is closed.

    The next file that is opened would get its number, and what a child writes would go there.
    """
    for number, name in _STREAMS.items():
        if getattr(sys, name) is None:
            _closed.add(number)
            with contextlib.suppress(OSError):
                opened = os.open(os.devnull, os.O_RDWR)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
                os.set_inheritable(number, True)  # for children, too
            stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def tolerate_failures() -> None:
    """Let no write to standard output or error raise an error from now on."""
    sys.stdout, sys.stderr = _tolerant(sys.stdout), _tolerant(sys.stderr)


def failure() -> str | None:
    """Why standard output is not whole; None: it is, or its reader has closed it."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Raw):
        return None
    if 1 in _closed and raw.used:
        return "it is closed"
    error = raw.error
    return None if error is None or error.errno == errno.EPIPE else error.strerror


def _tolerant(stream: TextIO) -> TextIO:
    try:
        raw = _Raw(stream.fileno())
    except OSError:  # it is in memory
        return stream
    buffer = io.BufferedWriter(cast("io.RawIOBase", raw))
    return io.TextIOWrapper(
        buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


class _Raw(io.RawIOBase):
    """A file descriptor; what cannot be written is dropped, and the first error remembered."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None
        self.used = False
        """Whether anything was to be written."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self.used = True
        if self.error is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self.error = error
        return len(memoryview(data).cast("B"))
