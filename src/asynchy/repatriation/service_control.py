"""Requests of a person to the running service: pause, resume, begin a cycle now.

Each returns sentences about the result, for the command and for the dashboard.
"""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta

from asynchy.catalogue import Catalogue
from asynchy.errors import ServiceNotRunning
from asynchy.localfs import process_identity
from asynchy.model.attempt import ServiceState
from asynchy.model.pause import Pause


def pause(
    catalogue: Catalogue, now: datetime, length: timedelta | None, reason: str
) -> tuple[str, ...]:
    """Have mxsync fetch nothing, for some time or until it is resumed.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    requested = Pause(now, now + length if length else None, reason.strip())
    catalogue.pauses.begin(requested)
    result = () if running_service(catalogue) else ("mxsync does not run now.",)
    return (*result, f"mxsync is {requested}.")


def resume(catalogue: Catalogue, now: datetime) -> tuple[str, ...]:
    """End a pause.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    current = catalogue.pauses.current(now)
    catalogue.pauses.end()
    if current is None:
        return ("mxsync was not paused.",)
    if running_service(catalogue) is None:
        return ("The pause has ended. mxsync does not run now.",)
    return ("The pause has ended. mxsync begins a cycle within seconds.",)


def begin_cycle(catalogue: Catalogue, now: datetime) -> tuple[str, ...]:
    """Have the running mxsync begin its next cycle now.

    Raises:
        ServiceNotRunning: it does not run, not on this machine, or belongs to another user.
        ServicePaused: it is paused.
        CatalogueError: the catalogue cannot be used.
    """
    service = running_service(catalogue)
    if service is None:
        raise ServiceNotRunning(
            "mxsync does not run", hint="start it: `mxsync --execute`, or its systemd unit"
        )
    if service.host != process_identity.host():
        raise ServiceNotRunning(
            f"mxsync runs on {service.host}, not here", hint=f"call `asynchy now` on {service.host}"
        )
    pause = catalogue.pauses.current(now)
    if pause is not None:
        raise pause.as_error()
    try:
        os.kill(service.pid, signal.SIGHUP)
    except PermissionError:
        raise ServiceNotRunning(
            f"mxsync (process {service.pid}) belongs to another user",
            hint="call `asynchy now` as the user that runs mxsync",
        ) from None
    return (
        f"mxsync (process {service.pid}) begins a cycle now, or when the present one has ended.",
    )


def running_service(catalogue: Catalogue) -> ServiceState | None:
    """The latest state of the running service; None: none runs.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return next((item for item in catalogue.services() if item.alive), None)
