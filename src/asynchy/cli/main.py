"""Where every command begins: `asynchy`, a group of them, and those that the originals had."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from asynchy.cli import signals, streams
from asynchy.cli.lazy import CONFIG_VARIABLE, loaded, text_of

_COMMANDS = {
    "adopt": "adopt.adopt_command",
    "alert": "alert.alert_command",
    "audit": "audit.audit_command",
    "catalogue": "catalogue.catalogue_group",
    "config": "config.config_group",
    "copies": "copies.copies_group",
    "doctor": "doctor.doctor",
    "init": "init.init",
    "logs": "logs.logs_command",
    "map": "map.map_group",
    "metrics": "web.metrics_command",
    "notify": "notify.notify_group",
    "now": "service.now_command",
    "pause": "service.pause_command",
    "receipt": "receipt.receipt_command",
    "report": "report.report_group",
    "resume": "service.resume_command",
    "status": "status.status",
    "sync": "sync.sync",
    "verify": "verify.verify_command",
    "walk": "walk.walk_command",
    "web": "web.web_group",
    "worker": "worker.worker_command",
}
"""Where each command is: module and name."""


class _Commands(click.Group):
    """Loads a command when it is used."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with _begun():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = loaded(_COMMANDS[cmd_name])
        _take_config(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As Click does, which suggests none of the commands: it knows those that are loaded."""
        near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
        if near and args[0] not in _COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # To load all commands for their first sentences takes five times as long as the rest.
        described = {name: click.Command(name, help=text_of(at)) for name, at in _COMMANDS.items()}
        click.Group(commands=described).format_commands(ctx, formatter)


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
            help="Config file; the same option as before the command.",
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
    with _begun():
        loaded(command)()


@contextmanager
def _begun() -> Iterator[None]:
    """Have signals and streams as every command needs them; report output that was not written."""
    signals.end_on_interrupt()
    streams.tolerate_failures()
    try:
        yield
    finally:
        if (reason := streams.failure()) is not None:
            click.echo(f"Standard output could not be written: {reason}.", err=True)


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
