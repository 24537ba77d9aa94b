"""`asynchy catalogue backup`, `check` and `restore`."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.backups import (
    advice,
    back_up,
    backups,
    check,
    complete_in,
    latest_in,
    restore,
    to_restore,
)
from asynchy.catalogue.odd_rows import odd_rows
from asynchy.cli.errors import handle_errors
from asynchy.cli.output.tables import bullets, line, table
from asynchy.config import load_shared
from asynchy.errors import AlreadyRunning, CatalogueError, ExitCode
from asynchy.model.formatting import moment, size
from asynchy.runtime.instance_lock import instance_lock, service_stopped


@click.command("backup")
@click.option("--list", "only_list", is_flag=True, help="List the backups.")
@click.pass_obj
@handle_errors
def backup_catalogue(config: Path, /, only_list: bool) -> None:
    """Back up the catalogue to a folder beside it, and check the backup.

    Others may write to the catalogue meanwhile. mxsync does this once a day and keeps the newest
    ones: see `backups` in the config.
    """
    path = _file(config)
    if not only_list:
        made = back_up(path, datetime.now(UTC))
        line(f"{made.path}: {size(made.path.stat().st_size)}")
        return
    found = backups(path)
    if not found:
        line(f"There is no backup of {path}.")
        return
    rows = [
        (moment(one.made), _known(one.path), size(one.path.stat().st_size), str(one.path))
        for one in found
    ]
    table(("Made", ">Complete copies", ">Size", "File"), rows)


@click.command("check")
@click.pass_obj
@handle_errors
def check_catalogue(config: Path, /) -> int:
    """Check every page, row and index of the catalogue with SQLite."""
    path = _file(config)
    if not path.exists() or not path.stat().st_size:
        raise CatalogueError(f"{path} is missing or empty", hint=advice(path))
    problems = check(path)
    if not problems:
        Catalogue.open_readonly(path).overview.records()  # each value is one that it can have
        odd = odd_rows(path)
        if not odd:
            line(f"{path}: nothing is wrong")
            return ExitCode.OK
        bullets(f"{path} has rows that another program wrote:", list(odd))
        line("What to do: `asynchy catalogue restore` puts a backup from before in its place")
        return ExitCode.STATE_ERROR
    bullets(f"{path} is damaged:", problems)
    line(f"What to do: {advice(path)}")
    return ExitCode.STATE_ERROR


@click.command("restore")
@click.argument("backup", required=False, type=click.Path(path_type=Path))
@click.pass_obj
@handle_errors
def restore_catalogue(config: Path, /, backup: Path | None) -> None:
    """Replace the catalogue with a backup: the newest one, or BACKUP.

    If an older one knows more complete copies than the newest, you have to name one.
    The replaced catalogue is kept beside it. mxsync compares again what happened after the backup
    was made, and fetches nothing twice.
    """
    path = _file(config)
    chosen = backup or to_restore(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(service_stopped(path))
        stack.enter_context(instance_lock(path, "walk"))
        stack.enter_context(instance_lock(path, "epnalert"))
        _require_idle(path)
        kept = restore(path, chosen, datetime.now(UTC))
    line(f"{path}: restored from {chosen}, with {_content(chosen)}")
    if kept is not None:
        line(f"What was there is in {kept}, with {_content(kept)}")
    if (pause := Catalogue.open_readonly(path).pauses.current(datetime.now(UTC))) is not None:
        line(f"In this backup, {pause.sentence}.")


def _file(config: Path) -> Path:
    """The catalogue's file.

    Raises:
        CatalogueError: it is in PostgreSQL.
    """
    address = load_shared(config).settings.catalogue_address
    if isinstance(address, Path):
        return address
    raise CatalogueError(
        f"{address} is in PostgreSQL, which has programs of its own for this",
        hint="pg_dump backs it up and pg_restore restores it: see the how-to about PostgreSQL",
    )


def _known(backup: Path) -> str:
    complete = complete_in(backup)
    return "?" if complete is None else f"{complete:,}"


def _content(path: Path) -> str:
    latest = latest_in(path)
    until = "no attempt in it" if latest is None else f"the latest attempt in it {moment(latest)}"
    return f"complete copies: {_known(path)}, {until}"


def _require_idle(path: Path) -> None:
    """Refuse while a process transfers something: it would write to the catalogue that goes.

    Raises:
        AlreadyRunning: there is one.
    """
    try:
        records = Catalogue.open_readonly(path).overview.copies()
    except CatalogueError:  # it is damaged: that is why it is replaced
        return
    for record in records:
        if record.claim is not None:
            claim = record.claim
            raise AlreadyRunning(
                f"process {claim.pid} on {claim.host} works on {record.copy.destination}",
                hint="wait until it has ended, or stop it; nothing was changed",
            )
