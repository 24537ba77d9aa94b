"""`as-walker`, which is `asynchy walk`: everything that is visible at the facility, catalogued."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from asynchy.catalogue.exporting import check_original, write_original
from asynchy.catalogue.importing import TIMEZONE
from asynchy.cli import logs
from asynchy.cli.catalogue import ORIGINAL, zone
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import config_option, together, until_stopped
from asynchy.cli.show_catalogue import show_walk
from asynchy.cli.signals import Signals
from asynchy.config import Shared, load_shared
from asynchy.domain.stop import Stop
from asynchy.domain.text import count, shown
from asynchy.errors import Stopped
from asynchy.facility.epn_lists import EpnList, read_list, read_spreadsheets
from asynchy.service.board import Board
from asynchy.service.reporter import Every, reporting
from asynchy.service.site import site_of
from asynchy.service.walk import Tally, Wanted, walk

log = logging.getLogger(__name__)

_LINE_EVERY = 60.0
_NAMED = 10


_options = together(
    click.option(
        "--list",
        "listed",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file of EPNs, one a line: these alone. Default: those in the spreadsheets of "
        "epns_path, or all that are visible.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["catalogue", ORIGINAL]),
        default="catalogue",
        show_default=True,
        help=f"{ORIGINAL}: write an SQLite file of the original's layout, too.",
    ),
    click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("as-walker.db"),
        show_default=True,
        help=f"With --format {ORIGINAL}: the file.",
    ),
    click.option(
        "--timezone",
        default=TIMEZONE,
        show_default=True,
        callback=zone,
        help=f"With --format {ORIGINAL}: the zone of its naive times.",
    ),
)


@click.command("walk")
@_options
@click.pass_obj
@fails_with_words
def walk_command(config: Path, /, **options: Any) -> int:
    """Find out what lies at the facility, into the catalogue.

    Goes on where it was stopped. The next walk finds what is new, changed or gone.
    """
    return _run(config, **options)


@click.command("as-walker", context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@_options
@click.version_option(package_name="asynchy")
@fails_with_words
def as_walker(config: Path, **options: Any) -> int:
    """Find out what lies at the facility, into the catalogue.

    Goes on where it was stopped. The next walk finds what is new, changed or gone.
    """
    return _run(config, **options)


def _run(config: Path, *, listed: Path | None, form: str, output: Path, timezone: ZoneInfo) -> int:
    settings = load_shared(config).settings
    logs.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, _signals: Signals) -> int:
        if form == ORIGINAL:
            check_original(settings.catalogue_path, output)
        wanted = _wanted(settings, listed)
        tally = Tally()
        site = site_of(settings, stop, Board(), write=True)
        try:
            with _told(tally):
                walked = walk(site, settings.walk_root, wanted, tally)
        except Stopped:
            raise Stopped("stopped", hint="start it again: it goes on where it was") from None
        show_walk(walked)
        if form == ORIGINAL:
            written = write_original(settings.catalogue_path, output, timezone)
            click.echo(f"{count(written, 'file')} written to {output}")
        return walked.exit_code

    return until_stopped(work)


def _wanted(settings: Shared, listed: Path | None) -> Wanted | None:
    if listed is not None:
        found, origin = read_list(listed), f"EPNs of {listed}"
    elif settings.epns_path is not None:
        found, origin = read_spreadsheets(settings.epns_path), f"EPNs of {settings.epns_path}"
    else:
        return None
    _complain(found)
    return Wanted(frozenset(found.epns), origin)


def _complain(found: EpnList) -> None:
    for row in found.odd[:_NAMED]:
        log.warning("no EPN: %s", shown(row))
    if len(found.odd) > _NAMED:
        log.warning("%d more rows begin with no EPN", len(found.odd) - _NAMED)


@contextmanager
def _told(tally: Tally) -> Iterator[None]:
    """Show how far it is: a bar on a terminal, otherwise a line a minute."""
    if not sys.stderr.isatty():
        with reporting([Every(_LINE_EVERY, lambda: log.info("%s", tally.line()))]):
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
        if tally.total:
            bar.update(task, completed=tally.experiments, total=tally.total, found=tally.found())

    with bar, reporting([Every(0.25, draw)]):
        yield
