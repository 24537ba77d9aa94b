"""Where every command begins: `asynchy`, a group of them, and those that the originals had."""

from __future__ import annotations

import gc
from importlib import import_module
from pathlib import Path

import click

_COMMANDS = {
    "alert": "alert.alert_command",
    "audit": "audit.audit_command",
    "catalogue": "catalogue.catalogue_group",
    "config": "config.config_group",
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
    """Loads a command when it is used: to load all of them takes longer than many a command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _loaded(_COMMANDS[cmd_name]) if cmd_name in _COMMANDS else None


def _loaded(where: str) -> click.Command:
    module, name = where.split(".")
    gc.disable()  # all of it stays: to look through it for garbage takes a fifth of the time
    try:
        command: click.Command = getattr(import_module(f"asynchy.cli.{module}"), name)
    finally:
        gc.freeze()
        gc.enable()
    return command


def as_walker() -> None:
    """The original's command of that name."""
    _loaded("walk.as_walker")()


def epnalert() -> None:
    """The original's command of that name."""
    _loaded("alert.epnalert")()


def mxsync() -> None:
    """The original's command of that name."""
    _loaded("mxsync.mxsync")()


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
    help="The config file.",
)
@click.version_option(package_name="asynchy")
@click.pass_context
def asynchy(context: click.Context, config: Path) -> None:
    """Bring experiments home from the Australian Synchrotron, and know what became of them."""
    context.obj = config.expanduser()
