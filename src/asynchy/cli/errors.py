"""The one place where errors become text on stderr and an exit code."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

from asynchy.config.file_access import access_hint
from asynchy.errors import AsynchyError, ExitCode
from asynchy.localfs.process_limits import raise_limit
from asynchy.model.formatting import escaped

log = logging.getLogger(__name__)

_P = ParamSpec("_P")


def handle_errors(command: Callable[_P, int | None]) -> Callable[_P, None]:
    """Make errors of a command function text for people, and its result the exit code."""

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        raise_limit()
        try:
            code = command(*args, **kwargs)
        except AsynchyError as error:
            say(error)
            code = error.exit_code
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - it is said, and ends the command
            code = _unexpected(error)
        sys.exit(int(code or 0))

    return guarded


def _unexpected(error: Exception) -> ExitCode:
    if isinstance(error, PermissionError) and error.filename is not None:
        log.debug("a path that this user may not use", exc_info=error)
        path = Path(os.fsdecode(error.filename))
        say(AsynchyError(f"{escaped(str(path))}: {error.strerror}", hint=access_hint(path)))
        return ExitCode.STATE_ERROR
    log.debug("a defect of asynchy", exc_info=error)
    click.echo(
        f"Error: asynchy did not expect this: {escaped(repr(error))}\n"
        "Please report it with the log (log-level: logging.DEBUG has the traceback).",
        err=True,
    )
    return ExitCode.INTERNAL


def say(error: AsynchyError) -> None:
    """Tell an error and what to do about it."""
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"What to do: {error.hint}", err=True)
