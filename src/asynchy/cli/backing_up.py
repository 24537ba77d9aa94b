"""`asynchy catalogue backup`, `check` and `restore`."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.backups import advice, back_up, backups, check, restore
from asynchy.cli.failing import fails_with_words
from asynchy.cli.tables import bullets, line, table
from asynchy.config import load_shared
from asynchy.domain.text import moment, size
from asynchy.errors import AlreadyRunning, CatalogueError, ExitCode
from asynchy.service.alone import alone


@click.command("backup")
@click.option("--list", "only_list", is_flag=True, help="List the backups that there are.")
@click.pass_obj
@fails_with_words
def backup_catalogue(config: Path, /, only_list: bool) -> None:
    """Copy the catalogue into a folder beside it, and check the copy.

    Others may write to the catalogue meanwhile. mxsync does this once a day and keeps the newest
    ones: see `backups` in the config.
    """
    path = load_shared(config).settings.catalogue_path
    if not only_list:
        made = back_up(path, datetime.now(UTC))
        line(f"{made.path}: {size(made.path.stat().st_size)}")
        return
    found = backups(path)
    if not found:
        line(f"There is no backup of {path}.")
        return
    rows = [(moment(one.made), size(one.path.stat().st_size), str(one.path)) for one in found]
    table(("Made", ">Size", "File"), rows)


@click.command("check")
@click.pass_obj
@fails_with_words
def check_catalogue(config: Path, /) -> int:
    """Have SQLite check every page, row and index of the catalogue."""
    path = load_shared(config).settings.catalogue_path
    if not path.exists():
        raise CatalogueError(f"there is no catalogue {path}", hint=advice(path))
    problems = check(path)
    if not problems:
        line(f"{path}: nothing is wrong")
        return ExitCode.OK
    bullets(f"{path} is damaged:", problems)
    line(f"What to do: {advice(path)}")
    return ExitCode.STATE


@click.command("restore")
@click.argument("backup", required=False, type=click.Path(path_type=Path))
@click.pass_obj
@fails_with_words
def restore_catalogue(config: Path, /, backup: Path | None) -> None:
    """Put a backup in the place of the catalogue: the newest one, or BACKUP.

    The catalogue that was there is kept beside it. What happened after the backup was made is not
    known then: mxsync compares it again, and fetches nothing twice.
    """
    path = load_shared(config).settings.catalogue_path
    found = [one.path for one in backups(path)]
    if backup is None and not found:
        raise CatalogueError(f"there is no backup of {path}", hint=advice(path))
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(path, "service"))
        stack.enter_context(alone(path, "walk"))
        stack.enter_context(alone(path, "epnalert"))
        _require_idle(path)
        chosen = backup or found[0]
        kept = restore(path, chosen, datetime.now(UTC))
    line(f"{path}: restored from {chosen}")
    if kept is not None:
        line(f"What was there is in {kept}")


def _require_idle(path: Path) -> None:
    """Refuse while a process transfers something: it would write to the catalogue that goes.

    Raises:
        AlreadyRunning: there is one.
    """
    try:
        records = Catalogue.peek(path).overview.copies()
    except CatalogueError:  # it is damaged: that is why it is replaced
        return
    for record in records:
        if record.claim is not None:
            claim = record.claim
            raise AlreadyRunning(
                f"process {claim.pid} on {claim.host} works on {record.copy.destination}",
                hint="wait until it has ended, or stop it; nothing was changed",
            )
