"""The engine that moves an experiment, made as the config and the server want it."""

from __future__ import annotations

from asynchy.facility.listing import offers_sftp
from asynchy.plan.engine import Means, choose
from asynchy.ssh.sftp import kept
from asynchy.transfer.crew import Crew
from asynchy.transfer.engine import Engine
from asynchy.transfer.rsync import RsyncEngine
from asynchy.transfer.sftp import SftpEngine
from asynchy.transfer.tuning import at_first


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


def prepare(means: Means, crew: Crew) -> None:
    """Have streams ready soon: a transfer that will take some will begin in a moment."""
    name, _ = choose(means, offers_sftp=offers_sftp(crew.remote))
    if name == "sftp":
        crew.prepare(means.streams or at_first(kept.round_trip(crew.remote)))
