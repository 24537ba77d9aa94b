"""`asynchy logs`: what the logs say of one EPN."""

from __future__ import annotations

import gzip
import re
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from asynchy.cli.errors import handle_errors
from asynchy.cli.options import epn_argument
from asynchy.config import load_shared
from asynchy.config.file_access import access_hint
from asynchy.errors import NothingKnown

_MOST = 1000


@click.command("logs")
@epn_argument
@click.option(
    "--lines",
    type=click.IntRange(1, 1_000_000),
    default=_MOST,
    show_default=True,
    help="At most this number of lines, the latest.",
)
@click.pass_obj
@handle_errors
def logs_command(config: Path, /, epn: str, lines: int) -> None:
    """Print the lines of the log files that name EPN, the oldest first.

    Reads the files that `log-files` names, with those that were rotated.
    """
    named = load_shared(config).settings.log_files
    files = [file for file in (named.sync, named.epnalert) if file is not None]
    if not files:
        raise NothingKnown("the config names no log file", hint="set `log-files: {sync: FILE}`")
    # Not within a longer word or number: 1228a is in 11228a and in 1228ab.
    pattern = re.compile(rf"(?<![0-9A-Za-z]){re.escape(epn)}(?![0-9A-Za-z])", re.IGNORECASE)
    found: deque[str] = deque(maxlen=lines)
    read = 0
    for file in files:
        for part in _parts(file):
            read += 1
            found.extend(text for text in _lines(part) if pattern.search(text))
    if not read:
        raise NothingKnown(f"there is no log yet: {', '.join(map(str, files))}")
    if not found:
        raise NothingKnown(f"no line of {', '.join(map(str, files))} names {epn}")
    for text in sorted(found, key=_time):
        click.echo(text)


def _parts(file: Path) -> list[Path]:
    """A log file and those that it was rotated to, the oldest first."""
    number = re.compile(rf"{re.escape(file.name)}\.(\d+)(\.gz)?")
    rotated = {
        int(match[1]): path
        for path in file.parent.glob(f"{file.name}.*")
        if (match := number.fullmatch(path.name))
    }
    try:
        here = [file] if file.exists() else []
    except PermissionError as error:
        raise NothingKnown(
            f"{file} cannot be read: {error.strerror}", hint=access_hint(file)
        ) from None
    return [path for _, path in sorted(rotated.items(), reverse=True)] + here


def _lines(file: Path) -> Iterator[str]:
    try:
        with (
            gzip.open(file, "rt", errors="replace")
            if file.suffix == ".gz"
            else file.open(errors="replace") as stream
        ):
            yield from (text.rstrip("\n") for text in stream)
    except OSError as error:
        raise NothingKnown(
            f"{file} cannot be read: {error.strerror or error}",
            hint="let this user read it",
        ) from None


def _time(text: str) -> float:
    """The time at the beginning of a line, or of its JSON; 0: it has none."""
    found = re.search(r"\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d", text[:80])
    return datetime.fromisoformat(found[0]).timestamp() if found else 0.0
