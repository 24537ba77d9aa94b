"""What `as-walker` does; loaded while ssh connects."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from asynchy.catalogue.exporting import check_original, write_original
from asynchy.cli.failing import say
from asynchy.cli.originals import FORMAT
from asynchy.cli.show_catalogue import show_walk
from asynchy.config import Shared
from asynchy.domain.stop import Stop
from asynchy.domain.text import count, shown
from asynchy.errors import ExitCode, SpreadsheetError, Stopped
from asynchy.facility.epn_lists import EpnList, read_list, read_spreadsheets
from asynchy.service.board import Board
from asynchy.service.reporter import Every, reporting
from asynchy.service.scan_progress import ScanProgress
from asynchy.service.site import site_of
from asynchy.service.walk import Wanted, walk

log = logging.getLogger(__name__)

_LINE_EVERY = 60.0
_NAMED = 10


def run(  # noqa: PLR0913 - the options of the command
    settings: Shared,
    stop: Stop,
    *,
    listed: Path | None,
    form: str,
    output: Path,
    timezone: ZoneInfo,
) -> int:
    """Walk and report; the exit code.

    Raises:
        AsynchyError: as `walk`; or the list, or the file to write, cannot be used.
    """
    if form == FORMAT:
        check_original(settings.catalogue_path, output)
    found, wanted = _wanted(settings, listed, stop)
    progress = ScanProgress()
    site = site_of(settings, stop, Board(), write=True)
    try:
        with _told(progress):
            walked = walk(site, settings.walk_root, wanted, progress)
    except Stopped:
        raise Stopped("stopped", hint="start it again: it goes on where it was") from None
    show_walk(walked)
    if form == FORMAT:
        written = write_original(settings.catalogue_path, output, timezone)
        click.echo(f"{count(written, 'file')} written to {output}")
    if found.refused and walked.exit_code is ExitCode.OK:
        return SpreadsheetError.exit_code
    return walked.exit_code


def _wanted(settings: Shared, listed: Path | None, stop: Stop) -> tuple[EpnList, Wanted | None]:
    """What the spreadsheets or the list say, and what a walk is for; None: all that is visible."""
    if listed is not None:
        found, origin = read_list(listed), f"EPNs of {listed}"
    elif settings.epns_path is not None:
        found = read_spreadsheets(settings.epns_path, stop)
        origin = f"EPNs of {settings.epns_path}"
    else:
        return EpnList(), None
    _complain(found)
    if not found.epns:
        raise SpreadsheetError(
            f"there is no EPN in {listed or settings.epns_path}",
            hint="the first column of a spreadsheet, and each line of a list, begins with an EPN,"
            " such as 12282a",
        )
    return found, Wanted(frozenset(found.epns), origin)


def _complain(found: EpnList) -> None:
    for row in found.odd[:_NAMED]:
        log.warning("no EPN: %s", shown(row))
    more = len(found.odd) + found.more_odd - _NAMED
    if more > 0:
        log.warning("%d more rows begin with no EPN", more)
    for error in found.refused:
        say(error)


@contextmanager
def _told(progress: ScanProgress) -> Iterator[None]:
    """Show how far it is: a bar on a terminal, otherwise a line a minute."""
    if not sys.stderr.isatty():
        with reporting([Every(_LINE_EVERY, lambda: log.info("%s", progress.line()))]):
            yield
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("experiments", total=None, found="looking what is there")

    def draw() -> None:
        if progress.total:
            bar.update(
                task, completed=progress.experiments, total=progress.total, found=progress.found()
            )

    with bar, reporting([Every(0.25, draw)]):
        yield
