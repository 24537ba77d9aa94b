"""How far a transfer is that runs in some process, as others see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asynchy.model.experiment import Experiment


@dataclass(frozen=True)
class RunningTransfer:
    """One of them; sizes in bytes."""

    experiment: Experiment
    project: str
    destination: str
    since: datetime
    heartbeat: datetime
    """When its process last reported progress."""
    bytes: int
    """To fetch."""
    done: int
    files: int
    files_done: int
    rate: float
    """Bytes a second over the last ten seconds."""
    left: float | None
    """Seconds; None: not known."""
    doing: str
    """The activity, if it is not fetching; empty: fetching."""

    @property
    def percent(self) -> int:
        """How much of it is done."""
        return min(100, 100 * self.done // self.bytes) if self.bytes else 100


@dataclass(frozen=True)
class RateSample:
    """Bytes that arrived in a span of time."""

    at: datetime
    """When the span begins."""
    seconds: int
    bytes: int

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds
