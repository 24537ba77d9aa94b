"""The engine that moves an experiment, made as the config and the server want it."""

from __future__ import annotations

import math

from asynchy.domain.experiment import Amount
from asynchy.facility.listing import offers_sftp
from asynchy.plan.engine import Means, choose
from asynchy.ssh.sftp import kept
from asynchy.transfer.crew import Crew
from asynchy.transfer.engine import Engine
from asynchy.transfer.processors import cores
from asynchy.transfer.rsync import RsyncEngine
from asynchy.transfer.sftp import SftpEngine
from asynchy.transfer.tuning import at_first, worth


def engine_for(means: Means, crew: Crew) -> Engine:
    """The engine for a transfer; what the server offers is known from the listing before it."""
    remote = crew.remote
    name, chosen = choose(means, offers_sftp=offers_sftp(remote))
    if name == "rsync":
        return RsyncEngine(remote, means, chosen=chosen)
    return SftpEngine(
        crew,
        compare=means.compare,
        streams=means.streams,
        round_trip=kept.round_trip(remote),
        chosen=chosen,
    )


def prepare(means: Means, crew: Crew, amount: Amount | None, beside: int) -> None:
    """Have streams ready soon: a transfer will begin in a moment, of so much where it is known.

    `beside`: how many other connections are being made.
    """
    name, _ = choose(means, offers_sftp=offers_sftp(crew.remote))
    if name == "sftp":
        each = math.inf if amount is None else amount.bytes / max(1, amount.files)
        wanted = at_first(kept.round_trip(crew.remote), cores(), each)
        if amount is not None:
            wanted = min(wanted, worth(amount.bytes, amount.files))
        crew.prepare(means.streams or wanted, beside)
