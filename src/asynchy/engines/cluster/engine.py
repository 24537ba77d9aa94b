"""The cluster engine: several hosts fetch one experiment into a file system that they share."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.cluster.client import cluster_at, require_package
from asynchy.engines.cluster.coordinator import ShardCoordinator
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.messages import ConnectionLost
from asynchy.engines.sftp.transfer import FileRules, MissingFiles, run_transfer
from asynchy.errors import ClusterError
from asynchy.model.attempt import EngineResult
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cancellation import Stop
from asynchy.model.cluster import ClusterAddress
from asynchy.model.file_modes import GROUP_SHARED, Modes
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession

ALIGNMENT = 1 << 20
"""Bytes; no page of any host's memory (4 to 64 KiB), and no block of a file system, is written by
two hosts (docs/decisions/0058)."""


@dataclass(frozen=True)
class ClusterEngine:
    """Brings an experiment home over SFTP, by the workers of a Dask cluster."""

    session: ServerSession
    address: ClusterAddress
    compare: str = "time"
    modes: Modes = GROUP_SHARED
    streams: int | None = None
    """How many connections a shard has; None: as many as pay."""
    bandwidth: BandwidthTimetable | None = None
    """What all hosts may take together."""
    chosen: str = "it was asked for"
    name: str = "cluster"
    check: str = "size"
    """As the sftp engine checks."""

    @property
    def remote(self) -> Server:
        """The server that the files come from."""
        return self.session.server

    def require(self) -> None:
        """Look for distributed; see `Engine.require`. The hosts of the workers need ssh."""
        require_package()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing; see `Engine.transfer`."""
        rules = FileRules(self.compare, self.modes, ALIGNMENT)
        return run_transfer(job, rules, self._fetch, stop, on_progress)

    def _fetch(self, missing: MissingFiles, stop: Stop) -> FetchStats:
        first = next(missing.units, None)
        if first is None:
            return FetchStats()
        try:
            cluster = cluster_at(self.address)
        except ClusterError as error:
            return FetchStats(lost=ConnectionLost(error.message, error.hint))
        shards = ShardCoordinator(
            cluster, missing, first, self.session, self.streams, self.bandwidth
        )
        return shards.run(stop)
