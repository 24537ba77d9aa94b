"""What a person wants of the running service: pause, go on, begin a cycle now.

Each says what follows, a sentence each, for the command and for the dashboard.
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
    wanted = Pause(now, now + length if length else None, reason.strip())
    catalogue.pauses.begin(wanted)
    said = () if running_service(catalogue) else ("mxsync does not run now.",)
    return (*said, f"mxsync is {wanted}.")


def resume(catalogue: Catalogue, now: datetime) -> tuple[str, ...]:
    """End a pause.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    found = catalogue.pauses.current(now)
    catalogue.pauses.end()
    if found is None:
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
    found = catalogue.pauses.current(now)
    if found is not None:
        raise found.as_error()
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
    """What the running service last said of itself; None: none runs.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return next((one for one in catalogue.services() if one.alive), None)
