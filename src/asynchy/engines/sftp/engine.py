"""The sftp engine: several streams over SFTP; ranges of big files, small ones by the hundred."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.sftp.coordinator import Coordinator
from asynchy.engines.sftp.cpu_usage import cores, idle_seconds
from asynchy.engines.sftp.fetch_stats import FetchStats
from asynchy.engines.sftp.stream_tuner import Tuner, useful_streams
from asynchy.engines.sftp.transfer import FileRules, MissingFiles, run_transfer
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.file_modes import GROUP_SHARED, Modes
from asynchy.ssh.server import Server, require_ssh


@dataclass(frozen=True)
class SftpEngine:
    """Brings an experiment home over SFTP, with as many connections as pay."""

    worker_pool: WorkerPool
    """Its processes move the files."""
    compare: str = "time"
    modes: Modes = GROUP_SHARED
    streams: int | None = None
    """How many connections; None: as many as pay."""
    round_trip: float | None = None
    """Seconds to the server and back, if the listing has measured it."""
    chosen: str = "it was asked for"
    name: str = "sftp"
    check: str = "size"
    """SFTP has no checksum of its own: that all bytes came is seen from their number (and SSH
    itself protects each packet)."""

    @property
    def remote(self) -> Server:
        """The server that the files come from."""
        return self.worker_pool.remote

    def require(self) -> None:
        """Look for ssh; see `Engine.require`."""
        require_ssh()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Fetch what is missing; see `Engine.transfer`."""
        rules = FileRules(self.compare, self.modes)
        return run_transfer(job, rules, self._fetch, stop, on_progress)

    def _fetch(self, missing: MissingFiles, stop: Stop) -> FetchStats:
        size, files = missing.listing_diff.missing_bytes, missing.listing_diff.missing_files
        max_streams = min(self.remote.connections, missing.chunk_size.units(size, files))
        if not self.streams:
            max_streams = min(max_streams, useful_streams(size, files))
        tuner = Tuner(
            max_streams,
            cores(),
            idle_seconds,
            self.streams,
            self.round_trip,
            size / max(1, files),
        )
        streams = Coordinator(
            self.worker_pool,
            missing.task,
            missing.units,
            tuner,
            missing.on_durable,
            missing.on_progress,
        )
        return streams.run(stop)
