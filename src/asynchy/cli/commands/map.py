"""`asynchy map`: which proposal belongs to which project."""

from __future__ import annotations

from pathlib import Path

import click

from asynchy.cli.errors import handle_errors
from asynchy.cli.output.catalogue import show_mapping
from asynchy.config import load
from asynchy.config.project_map import assign_project, remove_project


@click.group("map")
def map_group() -> None:
    """Show or change epn_cap_map, which assigns proposals to projects."""


@map_group.command("list")
@click.pass_obj
@handle_errors
def list_mapping(config: Path) -> None:
    """List every proposal and its project."""
    show_mapping(load(config).settings.epn_cap_map)


@map_group.command("add")
@click.argument("proposal")
@click.argument("project")
@click.option("--replace", is_flag=True, help="Also if it belongs to another project now.")
@click.pass_obj
@handle_errors
def add_mapping(config: Path, /, proposal: str, project: str, replace: bool) -> None:
    """Assign a PROPOSAL (or an EPN of it) to a PROJECT; nothing else in the config changes."""
    try:
        said = assign_project(config, proposal, project, replace=replace)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(said.text)
    if said.warning is not None:
        click.echo(f"Warning: {said.warning}", err=True)


@map_group.command("remove")
@click.argument("proposal")
@click.pass_obj
@handle_errors
def remove_mapping(config: Path, /, proposal: str) -> None:
    """Remove a PROPOSAL (or an EPN of it) from its project; no file at home is removed."""
    try:
        click.echo(remove_project(config, proposal))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
