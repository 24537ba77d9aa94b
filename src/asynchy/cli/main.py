"""`asynchy`: the group of commands; each command has a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

from asynchy.cli.alert import alert_command, epnalert
from asynchy.cli.catalogue import catalogue_group
from asynchy.cli.config import config_group
from asynchy.cli.doctor import doctor
from asynchy.cli.init import init
from asynchy.cli.map import map_group
from asynchy.cli.mxsync import mxsync
from asynchy.cli.status import status
from asynchy.cli.sync import sync
from asynchy.cli.walk import as_walker, walk_command

__all__ = ["as_walker", "asynchy", "epnalert", "mxsync"]


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        # --src_prefix and --src-prefix are the same option.
        "token_normalize_func": lambda token: token.replace("-", "_"),
    }
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


asynchy.add_command(alert_command)
asynchy.add_command(catalogue_group)
asynchy.add_command(config_group)
asynchy.add_command(doctor)
asynchy.add_command(init)
asynchy.add_command(map_group)
asynchy.add_command(status)
asynchy.add_command(sync)
asynchy.add_command(walk_command)
