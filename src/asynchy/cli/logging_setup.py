"""Where log lines go: the config's files, which rotate, and the terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import TextIO

from asynchy.localfs.log_stream import is_standard_error

_ROOT = "asynchy"
_RSYNC = "asynchy.ssh.rsync.runner"


_chosen = "text"
SAID = {"said": True}
"""`extra` of a record that a person is told in other words: the terminal does not repeat it."""
_quiet = False
_report_follows = False


class _LineFormatter(logging.Formatter):
    """One line a record, with the time in the site's zone; nothing in it can break the line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        message = record.getMessage()
        if record.exc_info:
            message += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        safe = "".join(c if c.isprintable() else _escaped(c) for c in message)
        return f"{when} {record.levelname} {safe}"


class _Json(logging.Formatter):
    """One JSON object a line, for log shippers."""

    def format(self, record: logging.LogRecord) -> str:
        when = (
            datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        )
        fields = {
            "time": when,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class _Terminal(logging.StreamHandler[TextIO]):
    """stderr as it is at the moment: live bars put something in its place that keeps them whole."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_FORMATS: dict[str, type[logging.Formatter]] = {"text": _LineFormatter, "json": _Json}


def choose_format(name: str) -> None:
    """Write log lines as "text" or as "json" from now on."""
    global _chosen  # noqa: PLW0603 - one process writes one format
    _chosen = name


def be_quiet() -> None:
    """From now on only errors go to stderr, if there is a log file for the rest."""
    global _quiet  # noqa: PLW0603 - one process has one stderr
    _quiet = True


def report_follows() -> None:
    """From now on a terminal gets no line that the report of this run says again."""
    global _report_follows  # noqa: PLW0603 - one process makes one report
    _report_follows = True


def _is_said_once(record: logging.LogRecord) -> bool:
    """Whether nothing else says on the terminal what a record says."""
    repeated = _report_follows and sys.stderr.isatty() and sys.stdout.isatty()
    return not hasattr(record, "said") and not (repeated and hasattr(record, "in_report"))


def _least_shown(level: int, file: Path | None) -> int:
    """The level from which on stderr gets a line."""
    if file is None:
        return max(level, logging.WARNING if _quiet else logging.INFO)
    if _quiet:
        return max(level, logging.ERROR)
    return max(level, logging.INFO if sys.stderr.isatty() else logging.WARNING)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def set_up(level: int, file: Path | None) -> None:
    """Send log lines to a file (all from `level` on) and to stderr (without rsync's output).

    Several processes may write the same file. If it cannot be written, the work is done all the
    same, and that is said once.
    """
    logger = logging.getLogger(_ROOT)
    logger.setLevel(level)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    is_terminal = file is not None and is_standard_error(file)  # no line is written twice there
    terminal = _Terminal()
    terminal.setFormatter(_FORMATS[_chosen]())
    terminal.setLevel(level if is_terminal else _least_shown(level, file))
    terminal.addFilter(_is_said_once)
    if not is_terminal:
        terminal.addFilter(lambda one: one.name != _RSYNC or one.levelno >= logging.WARNING)
    logger.addHandler(terminal)
    if file is not None and not is_terminal:
        logger.addHandler(_log_file(file))


def lead_to(name: str, file: Path | None) -> None:
    """Send the lines of one logger to a file of their own instead, where there is one."""
    logger = logging.getLogger(name)
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = file is None
    if file is not None:
        logger.addHandler(_log_file(file))


def _log_file(file: Path) -> logging.Handler:
    # Loaded where it is used: with all that it loads it would be a tenth of a command's start.
    from asynchy.cli.log_file import LogFile  # noqa: PLC0415

    handler = LogFile(file)
    handler.setFormatter(_FORMATS[_chosen]())
    return handler
