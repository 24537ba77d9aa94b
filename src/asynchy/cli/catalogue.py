"""`asynchy catalogue`: take in what the original programs wrote, and tell what is known."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.importing import TIMEZONE, Taken, import_file
from asynchy.cli.failing import fails_with_words, say
from asynchy.config import load_shared
from asynchy.domain.text import count, shown
from asynchy.errors import ExitCode, ImportRefused


@click.group("catalogue")
def catalogue_group() -> None:
    """Look after the catalogue."""


def _zone(_context: click.Context, _option: click.Parameter, value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(
            f"found {shown(value)!r}; accepted is a time zone such as {TIMEZONE}"
        ) from None


@catalogue_group.command("import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--timezone",
    default=TIMEZONE,
    show_default=True,
    callback=_zone,
    help="Where the naive times in the files were written.",
)
@click.pass_obj
@fails_with_words
def import_files(config: Path, /, files: tuple[Path, ...], timezone: ZoneInfo) -> int:
    """Take in SQLite files of as-walker or of the original asynchy; they stay as they are.

    Several at once, overlapping or not, in any order; doing it twice changes nothing. A file that
    is damaged is named and left out whole.
    """
    settings = load_shared(config).settings
    Catalogue.open(settings.catalogue_path)
    refused = False
    for file in files:
        try:
            taken = import_file(
                settings.catalogue_path, file, timezone=timezone, root=settings.walk_root
            )
        except ImportRefused as error:
            say(error)
            refused = True
        else:
            _tell(taken)
    return ExitCode.DUE if refused else ExitCode.OK


def _tell(taken: Taken) -> None:
    found = f"{count(taken.files, 'file')}, {count(taken.epns, 'EPN')}"
    click.echo(f"{taken.path}: {found} taken")
    if taken.known_better:
        click.echo(f"  {count(taken.known_better, 'row')} left out: a walk knows them better")
    if taken.odd:
        click.echo(f"  {count(taken.odd, 'row')} not understood, the first of them:")
        for row in taken.odd_rows:
            click.echo(f"    {shown(row)}")
