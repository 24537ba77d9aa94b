"""Messages are delivered, and commands run, while transfers go on; neither waits for the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from asynchy.delivery.channels import Channel, channels_of
from asynchy.delivery.collect import collect_arrivals
from asynchy.delivery.deliver import Delivery, deliver_messages, forget_channels, run_commands
from asynchy.errors import Stopped
from asynchy.runtime.periodic import PeriodicTask, reporting

log = logging.getLogger(__name__)

_EVERY = 5.0
"""Seconds between two looks at the outbox."""


@contextmanager
def delivering(work: Callable[[], Delivery]) -> Iterator[None]:
    """Deliver what waits, in threads of their own, until the end of the block.

    A command that runs at the end is waited for, unless a stop is requested. `work` gives what is
    in force: the config may change.
    """
    known: list[Channel] | None = None

    def messages() -> None:
        nonlocal known
        now = work()
        channels = channels_of(now.settings)
        if channels != known:
            forget_channels(now)
            known = channels
        if channels:
            collect_arrivals(now.catalogue, channels, datetime.now(UTC))
        _until_stopped(deliver_messages, now)

    def commands() -> None:
        _until_stopped(run_commands, work())

    with (
        reporting([PeriodicTask(_EVERY, messages)]),
        reporting([PeriodicTask(_EVERY, commands)]),
    ):
        yield


def deliver_all(work: Delivery) -> list[str]:
    """Deliver all that waits, once, whatever its time; why some was not, for people.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile; what was not delivered waits.
    """
    forget_channels(work)
    return deliver_messages(work, at_once=True) + run_commands(work, at_once=True)


def _until_stopped(deliver: Callable[[Delivery], list[str]], work: Delivery) -> None:
    try:
        deliver(work)
    except Stopped:
        log.debug("stopped while something was delivered; it is delivered again")
