"""`asynchy map`: which proposal belongs to which project."""

from __future__ import annotations

from pathlib import Path

import click
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from asynchy.cli.failing import fails_with_words
from asynchy.cli.show_catalogue import show_mapping
from asynchy.config import load
from asynchy.config.edit import edit
from asynchy.config.values import checked_proposal, checked_segment
from asynchy.domain.epn import Epn
from asynchy.domain.text import shown
from asynchy.errors import ConfigError, MappingRefused


@click.group("map")
def map_group() -> None:
    """Look after epn_cap_map, which says whose a proposal is."""


@map_group.command("list")
@click.pass_obj
@fails_with_words
def list_mapping(config: Path) -> None:
    """Every proposal and its project."""
    show_mapping(load(config).settings.epn_cap_map)


@map_group.command("add")
@click.argument("proposal")
@click.argument("project")
@click.option("--replace", is_flag=True, help="Even if it belongs to another project now.")
@click.pass_obj
@fails_with_words
def add_mapping(config: Path, /, proposal: str, project: str, replace: bool) -> None:
    """Give a PROPOSAL (or an EPN of it) to a PROJECT; comments in the config stay."""
    epn = Epn.parse(proposal)
    number = epn.proposal if epn else proposal
    try:
        checked_proposal(number)
        checked_segment(project)
    except ValueError as error:
        raise click.UsageError(
            f"found {shown(proposal)!r} {shown(project)!r}; accepted is {error}"
        ) from None
    load(config)  # nothing is added to a file that is broken

    def change(data: CommentedMap) -> bool:
        mapping = data.setdefault("epn_cap_map", CommentedMap())
        if mapping is None:
            mapping = data["epn_cap_map"] = CommentedMap()
        keys = [key for key in mapping if str(key) == number]
        before = [str(mapping[key]) for key in keys]
        if before == [project]:
            return False
        if before and not replace:
            raise MappingRefused(
                f"{number} belongs to {before[0]} already",
                hint=f"--replace gives it to {project} all the same",
            )
        mapping[keys[0] if keys else DoubleQuotedScalarString(number)] = project
        return True

    try:
        written = edit(config, change)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{config} cannot be written: {reason}") from None
    says = f"{number} belongs to {project}"
    click.echo(f"{config}: {says} now." if written else f"{config}: {says} already.")
