"""Where every command begins: `asynchy`, a group of them, and those that the originals had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asynchy.cli import streams
from asynchy.cli.loading import CONFIG_VARIABLE, loaded

_COMMANDS = {
    "alert": "alert.alert_command",
    "audit": "audit.audit_command",
    "catalogue": "catalogue.catalogue_group",
    "config": "config.config_group",
    "copies": "copies.copies_group",
    "doctor": "doctor.doctor",
    "init": "init.init",
    "map": "map.map_group",
    "receipt": "receipt.receipt_command",
    "report": "report.report_group",
    "status": "status.status",
    "sync": "sync.sync",
    "verify": "verify.verify_command",
    "walk": "walk.walk_command",
}
"""Where each command is: module and name."""


class _Commands(click.Group):
    """Loads a command when it is used."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        streams.tolerate_failures()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = loaded(_COMMANDS[cmd_name])
        _take_config(command)
        return command


def _take_config(command: click.Command) -> None:
    """Have a command, and all below it, take `--config` as well as `asynchy` does."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _take_config(one)
    if any("--config" in option.opts for option in command.params):
        return
    command.params.append(
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path, dir_okay=False),
            expose_value=False,
            callback=_use,
            help="The config file, as before the command.",
        )
    )


def _use(context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    """What is given after a command counts for it; it is nearer."""
    if value is not None:
        context.obj = value.expanduser()


def as_walker() -> None:
    """The original's command of that name."""
    _run("walk.as_walker")


def epnalert() -> None:
    """The original's command of that name."""
    _run("alert.epnalert")


def mxsync() -> None:
    """The original's command of that name."""
    _run("mxsync.mxsync")


def _run(command: str) -> None:
    streams.tolerate_failures()
    loaded(command)()


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # --src_prefix and --src-prefix are the same option.
        "token_normalize_func": lambda token: token.replace("-", "_"),
    },
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("~/.as.yaml"),
    show_default=True,
    envvar=CONFIG_VARIABLE,
    help=f"The config file; {CONFIG_VARIABLE} names another default.",
)
@click.version_option(package_name="asynchy")
@click.pass_context
def asynchy(context: click.Context, config: Path) -> None:
    """Bring experiments home from the Australian Synchrotron, and know what became of them."""
    context.obj = config.expanduser()
