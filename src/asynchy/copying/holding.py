"""The lease of a copy, renewed while it is worked on."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from asynchy.errors import AsynchyError
from asynchy.model.experiment import Copy
from asynchy.runtime.context import RunContext

log = logging.getLogger(__name__)

_HEARTBEAT = 60.0  # seconds


@contextlib.contextmanager
def holding_lease(context: RunContext, copy: Copy, copy_id: int) -> Iterator[None]:
    """Keep the heartbeat of a claim going; at the end give it up, and take it off the board.

    Where the lease is lost, what works on the copy is stopped.
    """
    ended = threading.Event()
    lease = context.catalogue.leases.of(copy_id)

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            try:
                context.catalogue.leases.beat(copy_id)
            except AsynchyError as error:  # the next beat may pass; the claim holds ten minutes
                log.warning("%s: no heartbeat: %s", copy.epn, error)
            if lease is not None and not lease.is_held:
                lease.give_up()
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        context.board.end(copy)
        context.catalogue.leases.release(copy_id)
