"""Where the Dask cluster is that does the work. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterAddress:
    """The scheduler, and the certificates with which it is spoken to."""

    scheduler: str | None = None
    """Such as `tcp://head:8786`; `tls://…` with certificates."""
    scheduler_file: Path | None = None
    """A file in which the scheduler wrote its address; one of both is given."""
    ca: Path | None = None
    """TLS: who signed the certificates of scheduler and workers; PEM."""
    cert: Path | None = None
    """TLS: our own certificate."""
    key: Path | None = None
    """TLS: its key."""

    def __str__(self) -> str:
        return self.scheduler or f"of the scheduler file {self.scheduler_file}"


@dataclass(frozen=True)
class ClusterWorker:
    """A worker that is connected to the scheduler."""

    address: str
    host: str
    """As it names its machine."""
    places: int
    """Shards that it works on at a time; 0: none of ours, it has another version."""
    connections: int
    """How many connections it may have to the facility."""
    version: str
    """Of asynchy and of distributed, as `our_version` writes them."""
    running: bool
    """Whether it takes work: it is not about to end, nor short of memory."""
