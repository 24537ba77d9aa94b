"""`asynchy pause`, `resume` and `now`: what a person wants of the running service."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import span
from asynchy.cli.output.tables import line
from asynchy.config import load
from asynchy.errors import ServiceNotRunning, ServicePaused
from asynchy.localfs import process_identity
from asynchy.model.attempt import ServiceState
from asynchy.model.pause import Pause


@click.command("pause")
@click.option("--reason", default="", help="Why, for those who ask `asynchy status`.")
@click.option(
    "--for",
    "length",
    callback=span,
    metavar="TIME",
    help="End the pause after this time, such as 2h or 3d.  [default: until `asynchy resume`]",
)
@click.pass_obj
@handle_errors
def pause_command(config: Path, /, reason: str, length: timedelta | None) -> None:
    """Have mxsync fetch nothing until `asynchy resume`.

    Transfers that run end within seconds; what they fetched is kept. Nothing is marked complete.
    """
    catalogue = Catalogue.open(load(config).settings.catalogue_path)
    now = datetime.now(UTC)
    pause = Pause(now, now + length if length else None, reason.strip())
    catalogue.pauses.begin(pause)
    service = _running(catalogue)
    if service is None:
        line("mxsync does not run now.")
    line(f"mxsync is {pause}.")


@click.command("resume")
@click.pass_obj
@handle_errors
def resume_command(config: Path, /) -> None:
    """End a pause: mxsync goes on with a new cycle."""
    catalogue = Catalogue.open(load(config).settings.catalogue_path)
    pause = catalogue.pauses.current(datetime.now(UTC))
    catalogue.pauses.end()
    service = _running(catalogue)
    if pause is None:
        line("mxsync was not paused.")
    elif service is None:
        line("The pause has ended. mxsync does not run now.")
    else:
        line("The pause has ended. mxsync begins a cycle within seconds.")


@click.command("now")
@click.pass_obj
@handle_errors
def now_command(config: Path, /) -> None:
    """Have the running mxsync begin its next cycle now."""
    catalogue = Catalogue.open_readonly(load(config).settings.catalogue_path)
    service = _running(catalogue)
    if service is None:
        raise ServiceNotRunning(
            "mxsync does not run", hint="start it: `mxsync --execute`, or its systemd unit"
        )
    if service.host != process_identity.host():
        raise ServiceNotRunning(
            f"mxsync runs on {service.host}, not here", hint=f"call `asynchy now` on {service.host}"
        )
    pause = catalogue.pauses.current(datetime.now(UTC))
    if pause is not None:
        raise ServicePaused(f"mxsync is {pause}", hint="`asynchy resume` ends the pause")
    try:
        os.kill(service.pid, signal.SIGHUP)
    except PermissionError:
        raise ServiceNotRunning(
            f"mxsync (process {service.pid}) belongs to another user",
            hint="call `asynchy now` as the user that runs mxsync",
        ) from None
    line(f"mxsync (process {service.pid}) begins a cycle now, or when the present one has ended.")


def _running(catalogue: Catalogue) -> ServiceState | None:
    return next((one for one in catalogue.services() if one.alive), None)
