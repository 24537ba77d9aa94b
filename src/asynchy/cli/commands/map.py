"""`asynchy map`: which proposal belongs to which project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from asynchy.cli.errors import handle_errors
from asynchy.cli.output.catalogue import show_mapping
from asynchy.config import load
from asynchy.config.field_types import checked_proposal, checked_segment
from asynchy.config.map_editor import MAPPING, with_project, without_proposal
from asynchy.config.yaml_editor import edit_text
from asynchy.config.yaml_source import parse
from asynchy.errors import ConfigError, MappingRefused
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped


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
    number = _proposal(proposal)
    try:
        checked_segment(project)
    except ValueError as error:
        raise click.UsageError(f"found {escaped(project)!r}; accepted is {error}") from None
    settings = load(config).settings  # nothing is added to a file that is broken

    def change(text: str) -> str | None:
        before = _mapping_in(text).get(number)
        if before == project:
            return None
        if before is not None and not replace:
            raise MappingRefused(
                f"{number} belongs to {before} already",
                hint=f"--replace gives it to {project} all the same",
            )
        return with_project(text, number, project)

    written = _edited(config, change)
    says = f"{number} belongs to {project}"
    click.echo(f"{config}: {says} now." if written else f"{config}: {says} already.")
    folder = settings.destination_root_path / project
    if not folder.is_dir():
        click.echo(
            f"Warning: the project folder {folder} does not exist; nothing is brought home"
            " until somebody makes it.",
            err=True,
        )


@map_group.command("remove")
@click.argument("proposal")
@click.pass_obj
@handle_errors
def remove_mapping(config: Path, /, proposal: str) -> None:
    """Remove a PROPOSAL (or an EPN of it) from its project; no file at home is removed."""
    number = _proposal(proposal)
    load(config)

    def change(text: str) -> str:
        if number not in _mapping_in(text):
            raise MappingRefused(
                f"{number} belongs to no project", hint="`asynchy map list` shows all proposals"
            )
        return without_proposal(text, number)

    _edited(config, change)
    click.echo(f"{config}: {number} belongs to no project now.")


def _proposal(text: str) -> str:
    """The proposal that is named by itself or by one of its EPNs."""
    epn = Epn.parse(text)
    try:
        return checked_proposal(epn.proposal if epn else text)
    except ValueError as error:
        raise click.UsageError(f"found {escaped(text)!r}; accepted is {error}") from None


def _mapping_in(text: str) -> dict[str, str]:
    data = parse(text).data
    mapping = data.get(MAPPING) if isinstance(data, dict) else None
    return {key: str(value) for key, value in mapping.items()} if isinstance(mapping, dict) else {}


def _edited(config: Path, change: Callable[[str], str | None]) -> bool:
    try:
        return edit_text(config, change)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{config} was not changed: {reason}", hint=f"edit {MAPPING} in the file by hand"
        ) from None
