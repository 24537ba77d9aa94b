"""`asynchy init`: write `~/.as.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml.comments import CommentedMap

from asynchy.cli.failing import fails_with_words
from asynchy.config import load_shared
from asynchy.config.edit import edit
from asynchy.config.values import Host, User
from asynchy.errors import AsynchyError, ConfigError, ExitCode


class ConfigExists(AsynchyError):
    """There is a config file already."""

    exit_code = ExitCode.CONFIG


def _checked(kind: Any) -> Any:
    """A value processor for a prompt: asks again, saying what is accepted."""

    def process(text: str) -> str:
        try:
            return str(TypeAdapter(kind).validate_python(text))
        except ValidationError as error:
            words = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise click.UsageError(f"found {text!r}; accepted is {words}") from None

    return process


@click.command()
@click.option("--config_path", help="Where to write it  [default: that of --config]")
@click.option(
    "--host", prompt="Host", default="sftp.synchrotron.org.au", show_default=True,
    help="The SFTP service", callback=lambda _c, _p, value: _checked(Host)(value),
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Its port"
)
@click.option(
    "--user",
    prompt="User",
    help="The user there",
    callback=lambda _c, _p, value: _checked(User)(value),
)
@click.option("--keypath", prompt="Path of the SSH private key", help="The SSH private key")
@click.option(
    "--db", prompt="Path of the database", default="./files.db", show_default=True,
    help="The catalogue",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a config that is there")
@click.pass_obj
@fails_with_words
def init(file: Path, /, config_path: str | None, overwrite: bool, **values: Any) -> None:
    """Make the config file; asks for what is not given."""
    path = Path(config_path).expanduser() if config_path else file
    if path.exists() and not overwrite:
        raise ConfigExists(f"{path} is there already", hint="--overwrite replaces it")
    # A relative path in the file would count from the file's folder; here it counts from ours.
    for name in ("keypath", "db"):
        values[name] = str(Path(values[name]).expanduser().absolute())
    _write(path, values)
    for warning in load_shared(path).warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"{path} written. Next: `as-walker --config {path}` finds what lies there.")


def _write(path: Path, values: dict[str, Any]) -> None:
    def change(data: CommentedMap) -> bool:
        data.clear()
        data.update(values)
        return True

    try:
        edit(path, change)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path} cannot be written: {reason}", hint="name another with --config_path"
        ) from None
