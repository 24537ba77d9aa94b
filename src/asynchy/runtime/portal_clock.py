"""This machine's clock, compared with the portal's before something is stored."""

from __future__ import annotations

import logging

from asynchy.config import Settings, Shared
from asynchy.errors import ClockWrong, PortalError
from asynchy.model.cancellation import Stop
from asynchy.model.clock import apart, is_wrong

log = logging.getLogger(__name__)


def require_right_clock(settings: Shared, stop: Stop) -> None:
    """Refuse to store by a clock that differs from the portal's, if the config names a portal.

    A time in the future would hide every visit that ends until then. If the portal does not answer,
    the clock counts as right.

    Raises:
        ClockWrong: the clocks differ.
        ConfigError: `ca-bundle` or the proxy of the environment cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    if not isinstance(settings, Settings):
        return
    from asynchy.facility.portal import Portal  # noqa: PLC0415 - it takes long to load

    portal = Portal(
        settings.base_url, stop=stop, ca_bundle=settings.ca_bundle, timeout=settings.timeout
    )
    try:
        offset = portal.check_clock()
    except PortalError as error:
        log.warning("this machine's clock was not compared with the portal's: %s", error)
        return
    if offset is not None and is_wrong(offset):
        raise ClockWrong(
            f"this machine's clock is {apart(offset)}: nothing was stored",
            hint="have the clock set (chrony, ntpd), and run the command again",
        )
