"""`asynchy catalogue`: take in what the original programs wrote, and tell what is known."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.exporting import (
    EXPERIMENT_COLUMNS,
    FILE_COLUMNS,
    experiment_rows,
    file_rows,
    write_original,
)
from asynchy.catalogue.figures import figures
from asynchy.catalogue.importing import Taken, import_file
from asynchy.cli import logs
from asynchy.cli.backing_up import backup_catalogue, check_catalogue, restore_catalogue
from asynchy.cli.failing import fails_with_words, say
from asynchy.cli.loading import loaded
from asynchy.cli.originals import FORMAT, zone
from asynchy.cli.rows import write_csv, write_json
from asynchy.cli.running import until_stopped
from asynchy.cli.show_catalogue import show_figures
from asynchy.config import load, load_shared
from asynchy.domain.experiment import TIMEZONE
from asynchy.domain.text import count, shown
from asynchy.errors import ExitCode, ExportRefused, ImportRefused


@click.group("catalogue")
def catalogue_group() -> None:
    """Look after the catalogue."""


catalogue_group.add_command(backup_catalogue)
catalogue_group.add_command(check_catalogue)
catalogue_group.add_command(restore_catalogue)


@catalogue_group.command("rebuild")
@click.pass_obj
@fails_with_words
def rebuild_catalogue(config: Path, /) -> int:
    """Compare everything at home with the facility, and record what is complete.

    For a catalogue that was lost. Every experiment of epn_cap_map whose place at home holds data is
    listed at the facility and compared by size and time, whatever ignore.yml says and however old
    its visit is. Nothing is fetched: what is not complete is due in the next cycle of mxsync.
    """
    settings = load(config).settings
    logs.set_up(settings.log_level, settings.log_files.sync)
    return until_stopped(lambda stop, _signals: loaded("rebuilding.run")(settings, stop))


@catalogue_group.command("import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--timezone",
    default=TIMEZONE,
    show_default=True,
    callback=zone,
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


@catalogue_group.command("stats")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
@fails_with_words
def stats(config: Path, /, as_json: bool) -> None:
    """How much is known: experiments, files and bytes, by beamline and by year."""
    path = load_shared(config).settings.catalogue_path
    found = figures(path)
    if as_json:
        click.echo(json.dumps(None if found is None else asdict(found), indent=2, default=str))
    elif found is None:
        click.echo(f"There is no catalogue yet at {path}.")
    else:
        show_figures(path, found)


@catalogue_group.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", FORMAT]),
    default="csv",
    show_default=True,
    help=f"{FORMAT}: the files, in an SQLite file of the original as-walker's layout.",
)
@click.option("--files", "every_file", is_flag=True, help="A row a file, and not an experiment.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where to; default: standard output."
)
@click.option(
    "--timezone",
    default=TIMEZONE,
    show_default=True,
    callback=zone,
    help=f"With {FORMAT}: the zone of its naive times.",
)
@click.pass_obj
@fails_with_words
def export(
    config: Path, /, form: str, every_file: bool, output: Path | None, timezone: ZoneInfo
) -> None:
    """Write what is known for other programs."""
    path = load_shared(config).settings.catalogue_path
    if form == FORMAT:
        if output is None:
            raise click.UsageError(f"--format {FORMAT} goes with --output FILE")
        written = write_original(path, output, timezone)
        click.echo(f"{count(written, 'file')} written to {output}")
        return
    rows = file_rows(path) if every_file else experiment_rows(path)
    write = write_json if form == "json" else write_csv
    columns = FILE_COLUMNS if every_file else EXPERIMENT_COLUMNS
    if output is None:
        write(sys.stdout, columns, rows)
        return
    if output.exists():
        raise ExportRefused(f"{output} exists", hint="name another with --output")
    try:
        with output.open("x", encoding="utf-8", newline="") as stream:
            write(stream, columns, rows)
    except OSError as error:
        output.unlink(missing_ok=True)
        raise ExportRefused(
            f"{output} cannot be written: {error.strerror}", hint="nothing of it was left behind"
        ) from None
