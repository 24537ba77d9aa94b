"""`asynchy sync`: bring the experiments of the catalogue to one destination."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from asynchy.cli import logs
from asynchy.cli.failing import fails_with_words
from asynchy.cli.loading import loaded
from asynchy.cli.running import at_least, named_epns, until_stopped
from asynchy.cli.signals import Signals
from asynchy.config import load_shared
from asynchy.config.values import FacilityPath
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.service import ahead

_LAYOUT_PART = re.compile(r"(?!\.{1,2}$)(?:\{epn\}|\{beamline\}|[A-Za-z0-9_.@+-])+", re.ASCII)


def _prefix(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(TypeAdapter(FacilityPath).validate_python(value))
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(f"found {shown(value)!r}; accepted is {words}") from None


def _layout(_context: click.Context, _option: click.Parameter, value: str) -> str:
    parts = value.split("/")
    allowed = all(_LAYOUT_PART.fullmatch(part) for part in parts) and ".." not in parts
    if not allowed or "{epn}" not in value:
        raise click.BadParameter(
            f"found {shown(value)!r}; accepted is a relative path with {{epn}}, such as "
            "{beamline}/{epn}"
        )
    return value


class _Order(click.ParamType[str]):
    """ASC or DESC in any case; `--help` shows it as TEXT, as the original's does."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).upper()
        if text not in ("ASC", "DESC"):
            self.fail(f"found {shown(str(value))!r}; accepted is ASC or DESC", param, ctx)
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
            self.fail(f"found {shown(str(value))!r}; accepted is 2019-07-01", param, ctx)
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
@click.option("--since", type=_Day(), help="Only what was last modified on this day or later.")
@click.option("--until", type=_Day(), help="Only what was last modified before this day.")
@click.option(
    "--layout",
    default="{epn}",
    show_default=True,
    callback=_layout,
    help="Where the copy of an EPN goes below --dest, such as {beamline}/{epn}.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.pass_obj
@fails_with_words
def sync(file: Path, /, **options: Any) -> int:
    """Sync data from a configured asynchy remote."""
    settings = load_shared(file).settings
    logs.set_up(settings.log_level, settings.log_files.sync)
    ahead.connect(settings)
    if not (options["dry_run"] or options["parallel"]):
        ahead.load(settings)

    def work(stop: Stop, signals: Signals) -> int:
        code: int = loaded("syncing.run")(settings, stop, options)
        return code or (signals.exit_code if stop.asked else 0)

    return until_stopped(work)
