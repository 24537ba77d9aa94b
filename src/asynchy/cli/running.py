"""What the commands that work for long have in common: a config file, and how they are stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from asynchy.cli.failing import say
from asynchy.cli.signals import Signals
from asynchy.domain.stop import Stop
from asynchy.errors import AsynchyError, Stopped

_Command = TypeVar("_Command", bound=Callable[..., Any])

log = logging.getLogger(__name__)

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="config.yml",
    show_default=True,
    help="The config file.",
)
"""Of the console scripts that the originals had."""


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Options as one decorator, for a command that has two names; in the order of --help."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def until_stopped(work: Callable[[Stop, Signals], int]) -> int:
    """Do the work, which SIGINT and SIGTERM ask to stop; the exit code.

    Raises:
        AsynchyError: what the work raised, once it is in the log.
    """
    stop = Stop()
    signals = Signals(stop)
    try:
        return work(stop, signals)
    except Stopped as error:
        say(error)
        return signals.exit_code
    except AsynchyError as error:
        log.error("%s", error)
        raise
