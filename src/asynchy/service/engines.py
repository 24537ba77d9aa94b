"""The engine that moves an experiment, made as the config and the server want it."""

from __future__ import annotations

from asynchy.facility.listing import offers_sftp
from asynchy.plan.engine import Means, choose
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp import kept
from asynchy.transfer.engine import Engine
from asynchy.transfer.rsync import RsyncEngine
from asynchy.transfer.sftp import SftpEngine


def engine_for(means: Means, remote: Remote) -> Engine:
    """The engine for a transfer; what the server offers is known from the listing before it."""
    name, chosen = choose(means, offers_sftp=offers_sftp(remote))
    if name == "rsync":
        return RsyncEngine(remote, means, chosen=chosen)
    return SftpEngine(
        remote,
        compare=means.compare,
        streams=means.streams,
        bandwidth=means.bandwidth,
        round_trip=kept.round_trip(remote),
        chosen=chosen,
    )
