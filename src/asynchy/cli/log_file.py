"""A log file that rotates, and that may be impossible to write for a while."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TextIO

from concurrent_log_handler import ConcurrentRotatingFileHandler

from asynchy.localfs.log_stream import open_stream

_LARGEST = 20_000_000
_KEPT = 10


class LogFile(logging.Handler):
    """Writes log lines to a file, which several processes may do; it is rotated under a lock.

    Standard output and error, devices and pipes are written as they are.

    If it cannot be written, one sentence on standard error says so. It is tried again with each
    line, and a line in the file says how many are missing there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._opened: _Rotating | _StreamLog | None = None
        self._missing = 0
        self._since: datetime | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as missing."""
        try:
            self._write(record)
        except OSError as error:
            self._missing += 1
            self._let_go()
            if self._since is None:
                self._since = datetime.now().astimezone()
                reason = error.strerror or error
                sys.stderr.write(
                    f"The log {self._file} cannot be written: {reason}. The work goes on.\n"
                )

    def close(self) -> None:
        """Close the file."""
        self._let_go()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        if self._opened is not None and not self._file.exists():  # its folder may be gone
            self._let_go()
        if self._opened is None:
            self._opened = _opened(self._file)
            self._opened.setFormatter(self.formatter)
        if self._since is not None:
            self._opened.emit(self._about_missing(self._since))
            self._since, self._missing = None, 0
        self._opened.emit(record)

    def _about_missing(self, since: datetime) -> logging.LogRecord:
        words = "%d lines are missing here: the log could not be written since %s"
        values = (self._missing, since.isoformat(timespec="seconds"))
        return logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, words, values, exc_info=None
        )

    def _let_go(self) -> None:
        if self._opened is not None:
            with contextlib.suppress(OSError, ValueError):
                self._opened.close()
            self._opened = None


def _opened(file: Path) -> _Rotating | _StreamLog:
    """Open a log for writing, or make the file.

    Raises:
        OSError: it cannot be written, or is neither a file nor a stream.
    """
    stream = open_stream(file)
    if stream is not None:
        return _StreamLog(os.fdopen(stream, "w", encoding="utf-8", errors="backslashreplace"))
    if file.exists() and not file.is_file():
        raise OSError("it is not a file")
    with file.open("a", encoding="utf-8"):
        pass
    return _Rotating(str(file), maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8")


class _Rotating(ConcurrentRotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Raise the error that is being handled."""
        raise  # noqa: PLE0704 - logging calls this while it handles one


class _StreamLog(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Raise the error that is being handled."""
        raise  # noqa: PLE0704 - logging calls this while it handles one

    def close(self) -> None:
        """Close the stream, too."""
        super().close()
        self.stream.close()
