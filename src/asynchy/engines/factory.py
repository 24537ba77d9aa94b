"""The engine that moves an experiment, made as the config and the server want it."""

from __future__ import annotations

import math

from asynchy.engines.base import Engine
from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.engines.selection import choose
from asynchy.engines.sftp.cpu_usage import cores
from asynchy.engines.sftp.engine import SftpEngine
from asynchy.engines.sftp.stream_tuner import initial_streams, useful_streams
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.model.experiment import DataSize
from asynchy.model.transfer_options import TransferOptions


def engine_for(transfer_options: TransferOptions, worker_pool: WorkerPool) -> Engine:
    """The engine for a transfer; the listing before it has found out what the server offers."""
    facts = worker_pool.session.facts
    name, chosen = choose(transfer_options, offers_sftp=facts.offers_sftp)
    if name == "rsync":
        if transfer_options.cluster is not None:
            chosen += "; the cluster moves files by sftp alone, so this machine does it"
        return RsyncEngine(worker_pool.remote, transfer_options, chosen=chosen)
    if transfer_options.cluster is not None:
        return ClusterEngine(
            worker_pool.session,
            transfer_options.cluster,
            compare=transfer_options.compare,
            modes=transfer_options.modes,
            streams=transfer_options.streams,
            bandwidth=transfer_options.bandwidth,
            chosen=f"executor: dask; {chosen}",
        )
    return SftpEngine(
        worker_pool,
        compare=transfer_options.compare,
        modes=transfer_options.modes,
        streams=transfer_options.streams,
        round_trip=facts.round_trip,
        chosen=chosen,
    )


def prepare(
    transfer_options: TransferOptions,
    worker_pool: WorkerPool,
    amount: DataSize | None,
    concurrent: int,
) -> None:
    """Start streams in advance: a transfer of about `amount` (None: unknown) begins in a moment.

    `concurrent`: how many other connections are being made.
    """
    facts = worker_pool.session.facts
    name, _ = choose(transfer_options, offers_sftp=facts.offers_sftp)
    if name == "sftp" and transfer_options.cluster is None:
        mean_file_bytes = math.inf if amount is None else amount.bytes / max(1, amount.files)
        wanted = initial_streams(facts.round_trip, cores(), mean_file_bytes)
        if amount is not None:
            wanted = min(wanted, useful_streams(amount.bytes, amount.files))
        worker_pool.prepare(transfer_options.streams or wanted, concurrent)
