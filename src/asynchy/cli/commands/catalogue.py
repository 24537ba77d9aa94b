"""`asynchy catalogue`: take in what the original programs wrote, and tell what is known."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.export import (
    EXPERIMENT_COLUMNS,
    FILE_COLUMNS,
    experiment_rows,
    file_rows,
    write_original,
)
from asynchy.catalogue.legacy_import import ImportResult, import_file
from asynchy.catalogue.statistics import statistics
from asynchy.cli import logging_setup
from asynchy.cli.commands.catalogue_backup import (
    backup_catalogue,
    check_catalogue,
    restore_catalogue,
)
from asynchy.cli.commands.catalogue_copy import copy_command
from asynchy.cli.errors import handle_errors, say
from asynchy.cli.lazy import loaded
from asynchy.cli.legacy_options import FORMAT, zone
from asynchy.cli.lost_state import loss_of
from asynchy.cli.options import until_stopped
from asynchy.cli.output.catalogue import show_figures
from asynchy.cli.output.records import write_csv, write_json
from asynchy.config import load, load_shared
from asynchy.errors import ExitCode, ExportRefused, ImportRefused
from asynchy.model.experiment import TIMEZONE
from asynchy.model.formatting import count, escaped


@click.group("catalogue")
def catalogue_group() -> None:
    """Manage the catalogue."""


catalogue_group.add_command(backup_catalogue)
catalogue_group.add_command(copy_command)
catalogue_group.add_command(check_catalogue)
catalogue_group.add_command(restore_catalogue)


@catalogue_group.command("rebuild")
@click.pass_obj
@handle_errors
def rebuild_catalogue(config: Path, /) -> int:
    """Compare everything at home with the facility, and record what is complete.

    For a lost catalogue. Every experiment of epn_cap_map whose place at home holds data is
    listed at the facility and compared by size and time, whatever ignore.yml says and however old
    its visit is. Nothing is fetched: what is not complete is due in the next cycle of mxsync.
    """
    settings = load(config).settings
    logging_setup.set_up(settings.log_level, settings.log_files.sync)
    return until_stopped(lambda stop, _signals: loaded("catalogue_rebuild.run")(settings, stop))


@catalogue_group.command("import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--timezone",
    default=TIMEZONE,
    show_default=True,
    callback=zone,
    help="The time zone of the times in the files.",
)
@click.pass_obj
@handle_errors
def import_files(config: Path, /, files: tuple[Path, ...], timezone: ZoneInfo) -> int:
    """Import SQLite files of as-walker or of the original asynchy; the files are not changed.

    Several files at once, in any order; importing a file twice changes nothing. A damaged file is
    named, and nothing of it is imported. Rows that cannot be understood are named, and the others
    are imported. In both cases, the exit code is 1.
    """
    settings = load_shared(config).settings
    Catalogue.open(settings.catalogue_address)
    all_taken = True
    for file in files:
        try:
            taken = import_file(
                settings.catalogue_address, file, timezone=timezone, root=settings.walk_root
            )
        except ImportRefused as error:
            say(error)
            all_taken = False
        else:
            _tell(taken)
            all_taken &= not taken.odd
    return ExitCode.OK if all_taken else ExitCode.INCOMPLETE


def _tell(taken: ImportResult) -> None:
    found = f"{count(taken.files, 'file')}, {count(taken.epns, 'EPN')}"
    click.echo(f"{taken.path}: {found} taken")
    if taken.known_better:
        click.echo(f"  {count(taken.known_better, 'row')} left out: a walk knows them better")
    if taken.odd:
        click.echo(f"  {count(taken.odd, 'row')} not understood, the first of them:")
        for row in taken.odd_rows:
            click.echo(f"    {escaped(row)}")


@catalogue_group.command("stats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@handle_errors
def stats(config: Path, /, as_json: bool) -> None:
    """Show the number of experiments, files and bytes, by beamline and by year."""
    settings = load_shared(config).settings
    path = settings.catalogue_address
    found, lost = statistics(path), loss_of(settings)
    if as_json:
        click.echo(json.dumps(None if found is None else asdict(found), indent=2, default=str))
    elif found is None and lost is None:
        click.echo(f"There is no catalogue yet at {path}.")
    elif found is not None:
        show_figures(path, found)
    if lost is not None:
        raise lost


@catalogue_group.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", FORMAT]),
    default="csv",
    show_default=True,
    metavar=f"[csv|json|{FORMAT}]",
    help=f"{FORMAT}: the files, as an SQLite file in the layout of the original as-walker.",
)
@click.option(
    "--files", "every_file", is_flag=True, help="One row per file instead of per experiment."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write; default: standard output."
)
@click.option(
    "--timezone",
    default=TIMEZONE,
    show_default=True,
    callback=zone,
    help=f"With {FORMAT}: the time zone of its times.",
)
@click.pass_obj
@handle_errors
def export(
    config: Path, /, form: str, every_file: bool, output: Path | None, timezone: ZoneInfo
) -> None:
    """Export the catalogue for other programs."""
    path = load_shared(config).settings.catalogue_address
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
