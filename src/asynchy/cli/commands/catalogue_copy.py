"""asynchy catalogue copy: a whole catalogue from SQLite to PostgreSQL, or back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from asynchy.catalogue.moving import copy_catalogue
from asynchy.cli.errors import handle_errors
from asynchy.cli.output.tables import line, table
from asynchy.config.loader import load_shared
from asynchy.config.schema import Shared
from asynchy.model.catalogue_address import (
    CatalogueAddress,
    PostgresAddress,
    is_postgres,
    parse_postgres,
)
from asynchy.model.formatting import count
from asynchy.runtime.instance_lock import instance_lock


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.pass_obj
@handle_errors
def copy_command(config: Path, /, source: str, target: str) -> None:
    """Copy a catalogue to a new place: to PostgreSQL, or back to a file of SQLite.

    FROM and TO are each a file, or postgresql://USER@HOST/DATABASE; for both, `catalogue-password`
    of the config or .pgpass has the password. TO must be empty. FROM is not changed. All rows are
    compared afterwards. Stop the service first, and let `catalogue` name the new place then.
    """
    settings = load_shared(config).settings
    origin, place = (_address(text, settings) for text in (source, target))
    with contextlib.ExitStack() as stack:
        for what in ("service", "walk", "epnalert"):
            stack.enter_context(instance_lock(origin, what))
        copied = copy_catalogue(origin, place)
    table(
        ("Table", ">Rows", "SHA-256 of all its values"),
        [(one.name, f"{one.rows:,}", one.digest) for one in copied],
    )
    rows = sum(one.rows for one in copied)
    line(f"\n{count(rows, 'row')} copied to {place}, and compared: all is the same.")


def _address(text: str, settings: Shared) -> CatalogueAddress:
    """A place that was named; one that the config names is where it says."""
    known = settings.catalogue_address
    if not is_postgres(text):
        return Path(text).absolute()
    if str(known) == text:
        return known
    try:
        found = parse_postgres(text, settings.catalogue_path.with_name("catalogue"))
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from None
    password = settings.catalogue_password
    if password is not None:
        return found.with_password(password.get_secret_value())
    return PostgresAddress(found.url, found.beside)
