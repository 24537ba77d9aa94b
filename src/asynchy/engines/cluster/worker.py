"""A Dask worker with what our work needs: `asynchy worker`.

One process, without a nanny: systemd or Slurm starts it again. Its streams and their ssh die with
it, however it dies. Asked to end, it takes no more work, has its shards stop, and ends once the
coordinator has heard what is durable of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from distributed import Worker
from distributed.core import Status

from asynchy.engines.cluster import work
from asynchy.engines.cluster.client import CONNECTIONS, places_resource, security_of
from asynchy.errors import ClusterError
from asynchy.model.cluster import ClusterAddress
from asynchy.model.formatting import escaped

log = logging.getLogger(__name__)

_GIVE_BACK = 20.0
"""Seconds that the work has to stop, and the coordinator to hear what is durable."""
_TICK = 0.1


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works."""

    address: ClusterAddress
    places: int
    """Shards that it works on at a time."""
    connections: int
    """To the facility, at most."""
    name: str
    """Unlike that of any other worker."""
    folder: Path
    """For Dask's own files."""
    host: str | None
    """The address or interface's address at which others reach it; None: Dask finds it."""


def serve(options: WorkerOptions) -> bool:
    """Work until a signal or the scheduler ends it; whether it was a signal.

    Raises:
        ClusterError: the scheduler cannot be reached.
    """
    logging.getLogger("distributed").setLevel(logging.WARNING)  # what it says besides is many lines
    return asyncio.run(_serve(options))


async def _serve(options: WorkerOptions) -> bool:
    address = options.address
    made = Worker(
        address.scheduler,
        scheduler_file=address.scheduler_file and str(address.scheduler_file),
        security=security_of(address),
        nthreads=options.places,
        resources={places_resource(): options.places, CONNECTIONS: options.connections},
        name=options.name,
        local_directory=str(options.folder),
        host=options.host,
        memory_limit=0,  # what it holds are lists of names; systemd or Slurm have the limit
        death_timeout=60,
    )
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    try:
        worker = await made
    except Exception as error:  # noqa: BLE001 - Dask raises many kinds
        raise ClusterError(
            f"the Dask scheduler {address} cannot be reached: {escaped(str(error), limit=300)}",
            hint="look whether it runs (`systemctl status asynchy-scheduler`), and whether this "
            "machine reaches it",
        ) from None
    log.info(
        "worker %s: at %s, %d shards at a time, %d connections", options.name, worker.address,
        options.places, options.connections,
    )  # fmt: skip
    ended = asyncio.create_task(worker.finished())
    signalled = asyncio.create_task(asked.wait())
    await asyncio.wait([ended, signalled], return_when=asyncio.FIRST_COMPLETED)
    if not asked.is_set():
        return False
    log.info("worker %s gives its work back (process %d)", options.name, os.getpid())
    await _give_back(worker)
    return True


async def _give_back(worker: Worker) -> None:
    """Take no more work, have what runs stop, and wait until its results were heard."""
    worker.status = Status.paused
    deadline = asyncio.get_running_loop().time() + _GIVE_BACK
    for stop in list(work.stops):
        stop.request()
    # A task stays here until the client has its result, and forgets it.
    while worker.state.tasks and asyncio.get_running_loop().time() < deadline:
        for stop in set(work.stops):
            if not stop.requested:
                stop.request()
        await asyncio.sleep(_TICK)
    await worker.close(reason="asynchy-worker-ends")
