"""What a worker does: one shard, fetched as the sftp engine fetches an experiment."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from distributed import Event, get_client, get_worker

from asynchy.engines.base import OnProgress
from asynchy.engines.cluster.client import CONNECTIONS
from asynchy.engines.cluster.shard import DurableData, Shard, ShardResult, ranged_files, without
from asynchy.engines.sftp.coordinator import Coordinator
from asynchy.engines.sftp.cpu_usage import cores, idle_seconds
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import LocalFailure
from asynchy.engines.sftp.partial_files import name_of
from asynchy.engines.sftp.stream_tuner import Tuner, useful_streams
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.localfs.copy_tree import error_reason
from asynchy.localfs.safe_tree import SafeTree, opened
from asynchy.localfs.shard_folders import SHARDS, ShardAttempt, ShardOver
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cancellation import Stop
from asynchy.model.file_times import tolerate
from asynchy.model.formatting import count, duration, size
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession

log = logging.getLogger(__name__)

_TELL = 1.0
"""Seconds between two reports of progress."""
_LOOK = 2.0
"""Seconds between two looks whether the work is ours still."""
_ASK = 1.0
"""Seconds that the scheduler is asked at a time whether the work is to stop."""

stops: set[Stop] = set()
"""Of the shards that this process works on."""
_pools: dict[tuple[Server, BandwidthTimetable | None], WorkerPool] = {}
_lock = threading.Lock()


def stop_event(transfer: str) -> str:
    """The name of the event that asks all shards of a transfer to stop."""
    return f"asynchy-stop-{transfer}"


def run_shard(shard: Shard) -> ShardResult:
    """Fetch a shard; a task of Dask.

    Raises:
        ShardOver: another attempt took its place.
    """
    worker = get_worker()
    host = str(worker.name)
    limit = int(worker.state.total_resources[CONNECTIONS])
    shard = replace(shard, remote=replace(shard.remote, connections=limit))
    told = 0.0
    durable = DurableData()

    def tell(moved: int, files: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL:
            told = time.monotonic()
            event: dict[str, Any] = {
                "shard": shard.number,
                "host": host,
                "bytes": moved,
                "files": files,
            }
            event["extents"] = durable.news()
            worker.log_event(shard.transfer, event)

    stop = Stop()
    with _stoppable(shard, stop):
        result = fetch_shard(shard, durable, (host, worker.address), stop, tell)
    _log(shard, result)
    return result


def _log(shard: Shard, result: ShardResult) -> None:
    files = f"{count(result.stats.files, 'file')}, " if result.stats.files else ""
    log.info(
        "shard %d of %s (%s): %s%s in %s%s", shard.number, shard.task.copy.epn, shard.transfer,
        files, size(result.stats.bytes), duration(result.seconds),
        "; the rest is given back" if result.rest else "",
    )  # fmt: skip


def close_idle() -> None:
    """End the streams of this host that have nothing to do."""
    with _lock:
        for pool in _pools.values():
            pool.close()


@contextlib.contextmanager
def _stoppable(shard: Shard, stop: Stop) -> Iterator[None]:
    """Have the work stop when the coordinator asks for it, or this worker is to end."""
    event = Event(stop_event(shard.transfer), client=get_client())
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            try:
                if event.wait(timeout=_ASK):
                    stop.request()
                    return
            except Exception:  # noqa: BLE001 - the scheduler is gone, and soon so is this worker
                ended.wait(_ASK)

    stops.add(stop)
    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        stops.discard(stop)


def fetch_shard(
    shard: Shard, durable: DurableData, by: tuple[str, str], stop: Stop, on_progress: OnProgress
) -> ShardResult:
    """Fetch a shard: bytes, files, times and modes as the sftp engine makes them.

    `by`: the worker's name and address. `durable` hears what is.

    Raises:
        ShardOver: another attempt took its place.
    """
    pool = _pool(shard)
    began = time.monotonic()
    try:
        stats = _fetch(shard, pool, durable, stop, on_progress)
    except ShardOver:
        raise
    except OSError as error:
        stats = FetchStats(broken=LocalFailure(*error_reason(error)))
    return ShardResult(
        *by,
        stats,
        time.monotonic() - began,
        durable.extents,
        tuple(durable.rest(shard.units)) if _is_cut_short(stats, stop) else (),
        pool.session.facts.round_trip,
    )


def _is_cut_short(stats: FetchStats, stop: Stop) -> bool:
    return stop.requested or stats.broken is not None or stats.lost is not None


def _fetch(
    shard: Shard, pool: WorkerPool, durable: DurableData, stop: Stop, on_progress: OnProgress
) -> FetchStats:
    task = shard.task
    tolerate(task.time_tolerance)
    names = {name_of(path) for path in ranged_files(shard.units)}
    folder = task.scratch / SHARDS / shard.name
    with ShardAttempt(task.copy.project_folder, folder) as attempt:
        scratch = opened(task.copy.project_folder, task.scratch)
        try:
            attempt.link(scratch, names)
        finally:
            os.close(scratch)
        found = _note_placed(shard, durable)
        units = tuple(without(shard.units, durable.placed))
        looked = time.monotonic()

        def tell(moved: int, files: int) -> None:
            nonlocal looked
            on_progress(moved + found.bytes, files + found.files)
            if time.monotonic() - looked >= _LOOK:
                looked = time.monotonic()
                if attempt.is_over:
                    stop.request()

        own = replace(task, scratch=attempt.path)
        streams = Coordinator(pool, own, iter(units), _tuner(shard), durable.note, tell)
        stats = streams.run(stop)
        attempt.flush(names)
    stats.bytes += found.bytes
    stats.files += found.files
    return stats


def _note_placed(shard: Shard, durable: DurableData) -> FetchStats:
    """See which whole files an earlier attempt put in their places."""
    found = FetchStats()
    chunks = (chunk for unit in shard.units for chunk in unit.chunks if chunk.whole)
    with SafeTree.of(shard.task.copy) as home:
        for chunk in chunks:
            if chunk.entry.is_same(home.find(chunk.entry.path)):
                durable.placed.add(chunk.entry.path)
                found.bytes += chunk.entry.size
                found.files += 1
    return found


def _tuner(shard: Shard) -> Tuner:
    most = shard.connections
    if not shard.streams:
        most = min(most, useful_streams(shard.size, shard.files))
    return Tuner(
        most,
        cores(),
        idle_seconds,
        shard.streams,
        shard.round_trip,
        shard.size / max(1, shard.files),
    )


def _pool(shard: Shard) -> WorkerPool:
    """The processes of this host's streams, which shards have one after the other."""
    with _lock:
        key = shard.remote, shard.bandwidth
        if key not in _pools:
            for pool in _pools.values():
                pool.close()
            _pools.clear()
            _pools[key] = WorkerPool(ServerSession(shard.remote), shard.bandwidth)
        return _pools[key]
