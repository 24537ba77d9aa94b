"""`asynchy pause`, `resume` and `now`: what a person wants of the running service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import span
from asynchy.cli.output.tables import line
from asynchy.config import load
from asynchy.repatriation import service_control


@click.command("pause")
@click.option("--reason", default="", help="Why, for those who ask `asynchy status`.")
@click.option(
    "--for",
    "length",
    callback=span,
    metavar="TIME",
    help="End the pause after this time, such as 2h or 3d.  [default: until `asynchy resume`]",
)
@click.pass_obj
@handle_errors
def pause_command(config: Path, /, reason: str, length: timedelta | None) -> None:
    """Have mxsync fetch nothing until `asynchy resume`.

    Transfers that run end within seconds; what they fetched is kept. Nothing is marked complete.
    """
    catalogue = Catalogue.open(load(config).settings.catalogue_address)
    for text in service_control.pause(catalogue, datetime.now(UTC), length, reason):
        line(text)


@click.command("resume")
@click.pass_obj
@handle_errors
def resume_command(config: Path, /) -> None:
    """End a pause: mxsync goes on with a new cycle."""
    catalogue = Catalogue.open(load(config).settings.catalogue_address)
    for text in service_control.resume(catalogue, datetime.now(UTC)):
        line(text)


@click.command("now")
@click.pass_obj
@handle_errors
def now_command(config: Path, /) -> None:
    """Have the running mxsync begin its next cycle now."""
    catalogue = Catalogue.open_readonly(load(config).settings.catalogue_address)
    for text in service_control.begin_cycle(catalogue, datetime.now(UTC)):
        line(text)
