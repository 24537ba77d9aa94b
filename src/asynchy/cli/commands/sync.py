"""`asynchy sync`: bring the experiments of the catalogue to one destination."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from asynchy.cli import logging_setup
from asynchy.cli.commands.sync_options import SyncOptions
from asynchy.cli.errors import handle_errors
from asynchy.cli.lazy import loaded
from asynchy.cli.options import at_least, layout_option, named_epns, until_stopped
from asynchy.cli.signals import Signals
from asynchy.config import load_shared
from asynchy.config.field_types import FacilityPath
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.runtime import warm_up


def _prefix(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(TypeAdapter(FacilityPath).validate_python(value))
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(f"found {escaped(value)!r}; accepted is {words}") from None


class _Order(click.ParamType[str]):
    """ASC or DESC in any case; `--help` shows it as TEXT, as the original's does."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).upper()
        if text not in ("ASC", "DESC"):
            self.fail(f"found {escaped(str(value))!r}; accepted is ASC or DESC", param, ctx)
        return text


class _Day(click.ParamType[datetime]):
    """A day (or a time) in this machine's zone."""

    name = "text"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"found {escaped(str(value))!r}; accepted is 2019-07-01", param, ctx)
        return found.astimezone(UTC)


@click.command(context_settings={"help_option_names": ["--help"]})
@click.help_option("-h", hidden=True)  # the original's --help does not have it
@click.option("--dest", default="./", show_default=True, help="Destination directory")
@click.option(
    "--src_prefix",
    callback=_prefix,
    help="Prefix to append to EPNs to create their path  [default: /]",
)
@click.option(
    "--order", type=_Order(), default="ASC", show_default=True, help="Order of transfers by date"
)
@click.option(
    "--limit", default=50, show_default=True, callback=at_least(1), help="Number of EPNs transfer"
)
@click.option(
    "--retry",
    default=0,
    show_default=True,
    callback=at_least(0),
    help="Number of time to retry SSH connection",
)
@click.option(
    "--parallel",
    is_flag=True,
    help="Use multiple processes for parallelisation  [default: False]",
)
@click.option(
    "--threads",
    default=1,
    show_default=True,
    callback=at_least(1),
    help="Number of threads to use. If parallel, the number of Python processes to use",
)
@click.option("--partial", is_flag=True, help="Enable partial transfers  [default: False]")
@click.option(
    "--compress", is_flag=True, help="Enable compression prior to transfer  [default: False]"
)
@click.option(
    "--epn", "epns", multiple=True, callback=named_epns, help="This EPN alone; repeatable."
)
@click.option(
    "--list",
    "listed",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The EPNs in this file alone; commas, semicolons, blanks or line ends separate them, and"
    " `#` begins a comment.",
)
@click.option("--since", type=_Day(), help="Only what was last modified on this day or later.")
@click.option("--until", type=_Day(), help="Only what was last modified before this day.")
@layout_option
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.pass_obj
@handle_errors
def sync(file: Path, /, **given: Any) -> int:
    """Sync data from a configured asynchy remote."""
    options = SyncOptions(**given)
    settings = load_shared(file).settings
    logging_setup.report_follows()
    logging_setup.set_up(settings.log_level, settings.log_files.sync)
    session = warm_up.connect(settings)
    if not (options.dry_run or options.parallel):
        warm_up.load(settings)

    def work(stop: Stop, signals: Signals) -> int:
        code: int = loaded("sync_run.run")(settings, stop, session, options)
        return code or (signals.exit_code if stop.requested else 0)

    return until_stopped(work)
