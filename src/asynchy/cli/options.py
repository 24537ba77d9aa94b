"""What the commands that work for long have in common: a config file, and how they are stopped."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from asynchy.cli.completion import known_epns
from asynchy.cli.errors import say
from asynchy.cli.lazy import CONFIG_VARIABLE
from asynchy.cli.logging_setup import SAID
from asynchy.cli.signals import Signals
from asynchy.config.field_types import Bandwidth
from asynchy.errors import AsynchyError, Stopped
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped

_Command = TypeVar("_Command", bound=Callable[..., Any])

log = logging.getLogger(__name__)


def home_expanded(_context: click.Context, _option: click.Parameter, value: Path) -> Path:
    """A path that may begin with the home folder, `~`."""
    return value.expanduser()


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="config.yml",
    show_default=True,
    envvar=CONFIG_VARIABLE,
    callback=home_expanded,
    help=f"The config file; {CONFIG_VARIABLE} names another default.",
)
"""Of the console scripts that the originals had."""


quiet_option = click.option(
    "--quiet",
    is_flag=True,
    help="Print nothing if all is well: for cron. Warnings go to the log file.",
)


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Options as one decorator, for a command that has two names; in the order of --help."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def named_epns(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> frozenset[str]:
    """The EPNs that were named, in the form in which they are stored."""
    return frozenset(map(_epn, value))


def named_epn(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """The EPN that was named, if any, in the form in which it is stored."""
    return None if value is None else _epn(value)


def _epn(text: str) -> str:
    epn = Epn.parse(text)
    if epn is None:
        raise click.BadParameter(
            f"{escaped(text, limit=40)} is not an EPN (digits and a letter, such as 12282a)"
        )
    return epn.text


epns_argument = click.argument(
    "epns",
    nargs=-1,
    metavar="[EPN]...",
    callback=named_epns,
    required=False,
    shell_complete=known_epns,
)
"""The EPNs that a command is about; none: all."""
epn_argument = click.argument("epn", callback=named_epn, shell_complete=known_epns)
"""The one EPN that a command is about."""


_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """A length of time: `24h`, `7d`, `2w`."""
    if value is None:
        return None
    found = time_span(value)
    if found is None:
        raise click.BadParameter(f"found {escaped(value)!r}; accepted is 24h, 7d or 2w")
    return found


def time_span(text: str) -> timedelta | None:
    """What such a text says; None: it is no such text."""
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    return int(found[1]) * _UNITS[found[2]] if found else None


_LAYOUT_PART = re.compile(r"(?!\.{1,2}$)(?:\{epn\}|\{beamline\}|[A-Za-z0-9_.@+-])+", re.ASCII)


def _layout(_context: click.Context, _option: click.Parameter, value: str) -> str:
    parts = value.split("/")
    allowed = all(_LAYOUT_PART.fullmatch(part) for part in parts) and ".." not in parts
    if not allowed or "{epn}" not in value:
        raise click.BadParameter(
            f"found {escaped(value)!r}; accepted is a relative path with {{epn}}, such as "
            "{beamline}/{epn}"
        )
    return value


layout_option = click.option(
    "--layout",
    default="{epn}",
    show_default=True,
    callback=_layout,
    help="Where the copy of an EPN goes below --dest, such as {beamline}/{epn}.",
)
"""Of the commands that are about one destination."""


def absolute(text: str) -> Path:
    """A path as it was given, from the working folder or `~` on; links stay as they are."""
    return Path(os.path.normpath(Path(text).expanduser().absolute()))


def at_least(least: int) -> Callable[[click.Context, click.Parameter, int], int]:
    """Have an option refuse a number that is smaller."""

    def check(_context: click.Context, _option: click.Parameter, value: int) -> int:
        if value < least:
            raise click.BadParameter(f"found {value}; accepted is a number of at least {least}")
        return value

    return check


def _rate(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return TypeAdapter[int](Bandwidth).validate_python(value.removesuffix("/s"))
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(f"found {escaped(value)!r}; accepted is {words}") from None


rate_option = click.option("--rate", callback=_rate, help="Bytes a second at most, such as 50MB.")
"""Of the commands that read copies at home."""


def until_stopped(work: Callable[[Stop, Signals], int], *, hangup: bool = True) -> int:
    """Do the work, which SIGINT, SIGTERM and (with `hangup`) SIGHUP ask to stop; the exit code.

    Raises:
        AsynchyError: what the work raised, once it is in the log.
    """
    stop = Stop()
    signals = Signals(stop, hangup=hangup)
    try:
        return work(stop, signals)
    except Stopped as error:
        say(error)
        return signals.exit_code
    except AsynchyError as error:
        log.error("%s", error, extra=SAID)
        raise
