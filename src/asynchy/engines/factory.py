"""The engine that moves an experiment, made as the config and the server want it."""

from __future__ import annotations

import math

from asynchy.engines.base import Engine
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.engines.selection import choose
from asynchy.engines.sftp.cpu_usage import cores
from asynchy.engines.sftp.engine import SftpEngine
from asynchy.engines.sftp.stream_tuner import at_first, worth
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.model.experiment import DataSize
from asynchy.model.transfer_options import TransferOptions


def engine_for(transfer_options: TransferOptions, crew: WorkerPool) -> Engine:
    """The engine for a transfer; what the server offers is known from the listing before it."""
    facts = crew.session.facts
    name, chosen = choose(transfer_options, offers_sftp=facts.offers_sftp)
    if name == "rsync":
        return RsyncEngine(crew.remote, transfer_options, chosen=chosen)
    return SftpEngine(
        crew,
        compare=transfer_options.compare,
        modes=transfer_options.modes,
        streams=transfer_options.streams,
        round_trip=facts.round_trip,
        chosen=chosen,
    )


def prepare(
    transfer_options: TransferOptions, crew: WorkerPool, amount: DataSize | None, beside: int
) -> None:
    """Have streams ready soon: a transfer will begin in a moment, of so much where it is known.

    `beside`: how many other connections are being made.
    """
    facts = crew.session.facts
    name, _ = choose(transfer_options, offers_sftp=facts.offers_sftp)
    if name == "sftp":
        each = math.inf if amount is None else amount.bytes / max(1, amount.files)
        wanted = at_first(facts.round_trip, cores(), each)
        if amount is not None:
            wanted = min(wanted, worth(amount.bytes, amount.files))
        crew.prepare(transfer_options.streams or wanted, beside)
