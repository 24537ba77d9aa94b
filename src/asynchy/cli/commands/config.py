"""`asynchy config`: look at a config file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

from asynchy.alerting.activity_mail import check_activity_templates
from asynchy.alerting.configured_templates import check_mail_templates
from asynchy.cli.errors import handle_errors
from asynchy.config import Settings, Shared, load_shared
from asynchy.delivery.checks import channel_problems
from asynchy.errors import ConfigError
from asynchy.ssh.key_files import key_file_problem

_MASK = "********"


@click.group("config")
def config_group() -> None:
    """Check or show a config file."""


@config_group.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
@handle_errors
def check(config: Path, /, file: Path | None) -> None:
    """Check FILE and what it names (key file, templates, channels); report all problems.

    Without FILE: the one that --config names.
    """
    file = file or config
    loaded = load_shared(file)
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)
    settings = loaded.settings
    problems = []
    if settings.key_file is not None and (found := key_file_problem(settings.key_file)):
        problems.append(f"{file}: key-file: {found.reason} ({found.hint})")
    if isinstance(settings, Settings):
        problems += [
            f"{file}: {problem} (correct it; asynchy's own takes its place until then)"
            for problem in (*check_mail_templates(settings), *check_activity_templates(settings))
        ]
        problems += [
            f"{loaded.place(file, one.place)}: {one.what}: {one.found} ({one.to_do})"
            for one in channel_problems(settings)
        ]
    if problems:
        raise ConfigError("\n".join(problems))
    click.echo(f"{file}: no problems found.")


@config_group.command()
@click.pass_obj
@handle_errors
def show(file: Path) -> None:
    """Print the settings in force, secrets masked."""
    loaded = load_shared(file)
    settings = _worked_out(loaded.settings)
    for name, field in type(settings).model_fields.items():
        key = field.alias or name
        value = getattr(settings, name)
        lines = _lines(f"logging.{logging.getLevelName(value)}" if name == "log_level" else value)
        origin = "" if key in loaded.given else "  # default"
        if len(lines) == 1 and not lines[0].startswith(" "):
            click.echo(f"{key}: {lines[0]}".rstrip() + origin)
        else:
            click.echo(f"{key}:{origin}")
            click.echo("\n".join(lines))


def _worked_out(settings: Shared) -> Shared:
    """The settings with the defaults that follow from other keys."""
    if not isinstance(settings, Settings):
        return settings
    equipment = tuple(
        entry.model_copy(update={"beamline": settings.beamline_of(entry)})
        for entry in settings.equipment
    )
    return settings.model_copy(update={"equipment": equipment})


def _lines(value: Any, indent: str = "  ") -> list[str]:
    """A value as lines of YAML; what needs a line of its own is indented."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        value = {field.alias or name: getattr(value, name) for name, field in fields}
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _pair(str(key), item, indent)]
    if isinstance(value, (list, tuple)) and value:
        return [line for item in value for line in _item(item, indent)]
    return [_scalar(value)]


def _pair(key: str, value: Any, indent: str) -> list[str]:
    lines = _lines(value, indent + "  ")
    if len(lines) == 1 and not lines[0].startswith(" "):
        return [f"{indent}{key}: {lines[0]}"]
    return [f"{indent}{key}:", *lines]


def _item(value: Any, indent: str) -> list[str]:
    first, *rest = _lines(value, indent + "  ")
    return [f"{indent}- {first.strip()}", *rest]


def _scalar(value: Any) -> str:
    if isinstance(value, SecretStr):
        return _MASK
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list, tuple)):
        return "{}" if isinstance(value, dict) else "[]"
    return str(value)
