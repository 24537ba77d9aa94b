"""`asynchy init`: write `~/.as.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml.comments import CommentedMap

from asynchy.cli.errors import handle_errors
from asynchy.config import load_shared
from asynchy.config.field_types import Host, User
from asynchy.config.file_access import access_hint, reachable
from asynchy.config.schema import Port
from asynchy.config.yaml_editor import edit
from asynchy.errors import AsynchyError, ConfigError, ExitCode, HostKeyRefused
from asynchy.model.formatting import escaped
from asynchy.ssh.host_keys import is_known, offered
from asynchy.ssh.key_files import key_file_problem

_USUAL = (Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts"))
"""Where ssh looks for host keys, unless a config says otherwise."""


_SQLITE = b"SQLite format 3\0"
"""How a database begins: https://sqlite.org/fileformat.html"""


class ConfigExists(AsynchyError):
    """There is a config file already."""

    exit_code = ExitCode.CONFIG


@click.command()
@click.option("--config_path", help="File to write  [default: that of --config]")
@click.option("--host", help="The SFTP service  [default: sftp.synchrotron.org.au]")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port  [default: 22]")
@click.option("--user", help="The user there")
@click.option("--keypath", help="The SSH private key")
@click.option("--db", help="The catalogue  [default: ./files.db]")
@click.option(
    "--fingerprint",
    help="The SHA256 fingerprint of the server's host key, as the facility names it: the key is "
    "written beside the config if the server offers it.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing config file")
@click.pass_obj
@handle_errors
def init(
    file: Path,
    /,
    config_path: str | None,
    overwrite: bool,
    fingerprint: str | None,
    **values: Any,
) -> None:
    """Write a config file; asks for missing values."""
    path = Path(config_path).expanduser() if config_path else file
    try:
        is_there = path.exists()
    except PermissionError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=access_hint(path)) from None
    if is_there and not overwrite:  # before anybody has answered a question
        raise ConfigExists(f"{path} is there already", hint="--overwrite replaces it")
    asked = None in values.values()
    for name, question in _QUESTIONS.items():
        values[name] = _answer(question, values[name])
    # A relative path in the file would count from the file's folder; here it counts from ours.
    for name in ("keypath", "db"):
        values[name] = str(Path(values[name]).expanduser().absolute())
    _check_files(Path(values["keypath"]), Path(values["db"]))
    _make_folders(path.absolute().parent, Path(values["db"]).parent)
    if known := _known_hosts(path, values["host"], values["port"], fingerprint, asked=asked):
        values["known-hosts"] = str(known)
    _write(path, values)
    if (problem := key_file_problem(Path(values["keypath"]))) is not None:
        click.echo(f"Warning: {problem.reason} ({problem.hint})", err=True)
    for warning in load_shared(path).warnings:
        click.echo(f"Warning: {warning}", err=True)
    command = f"asynchy --config {path}"
    click.echo(f"{path} written. Next: `{command} doctor`, then `{command} walk`.")


@dataclass(frozen=True)
class _Question:
    """What is asked for a value that was not given."""

    text: str
    kind: Any
    default: str | None = None


_QUESTIONS = {
    "host": _Question("Host", Host, "sftp.synchrotron.org.au"),
    "port": _Question("Port", Port, "22"),
    "user": _Question("User", User),
    "keypath": _Question("Path of the SSH private key", str),
    "db": _Question("Path of the database", str, "./files.db"),
}


def _answer(question: _Question, given: str | int | None) -> str | int:
    """The value that was given, or what a person answers; a wrong answer is asked for again."""
    if given is not None:
        return _checked(question, str(given))
    answer: str | int = click.prompt(
        question.text,
        default=question.default,
        value_proc=lambda text: _checked(question, text),
    )
    return answer


def _checked(question: _Question, text: str) -> str | int:
    try:
        value: str | int = TypeAdapter(question.kind).validate_python(text)
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.UsageError(f"found {text!r}; accepted is {words}") from None
    return value


def _check_files(key: Path, database: Path) -> None:
    """Refuse a key file that is not there, and a database that is another kind of file."""
    if not reachable(key.exists):
        raise ConfigError(
            f"there is no key file {key} that this user can reach",
            hint="name the SSH private key; `ssh-keygen -t ed25519` makes one",
        )
    try:
        with database.open("rb") as file:
            begin = file.read(len(_SQLITE))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"the database {database}: {error.strerror}", hint="name another file with --db"
        ) from None
    if begin not in {b"", _SQLITE}:
        raise ConfigError(
            f"the database {database} is not an SQLite file", hint="name another file with --db"
        )


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made: {error.strerror}", hint="name another folder"
            ) from None


def _known_hosts(
    path: Path, host: str, port: int, fingerprint: str | None, *, asked: bool
) -> Path | None:
    """The file with the server's host key, written beside the config; None: none was written.

    A key is taken only if a person or a script names its fingerprint: one that is accepted unseen
    may be that of somebody in between.
    """
    if fingerprint is None and is_known(host, port, _USUAL):
        return None
    keys = offered(host, port) if fingerprint or asked else []
    if fingerprint is None and asked and keys:
        click.echo(f"The host key of {host} is not known on this machine. The facility names its")
        click.echo("fingerprint, by phone or on its web site; it begins with SHA256:")
        fingerprint = click.prompt("Fingerprint (empty: add the key later)", default="",
                                   show_default=False)  # fmt: skip
    if not fingerprint:
        click.echo(f"Warning: the host key of {host} is not known yet: doctor says what to do.",
                   err=True)  # fmt: skip
        return None
    wanted = [key for key in keys if key.fingerprint == fingerprint.strip()]
    if not wanted:
        found = ", ".join(key.fingerprint for key in keys) or "no key, or cannot be reached"
        raise HostKeyRefused(
            f"{host} does not offer a host key with the fingerprint {escaped(fingerprint)}",
            hint=f"it offers {found}; compare with what the facility names. Nothing was written",
        )
    known = path.absolute().with_name(f"{path.stem}.known_hosts")
    try:
        known.write_text("".join(f"{key.line}\n" for key in wanted), encoding="ascii")
    except OSError as error:
        raise ConfigError(f"{known} cannot be written: {error.strerror}") from None
    return known


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
