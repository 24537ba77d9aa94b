"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits that grow with each failed try; all in seconds."""

    first: float
    """The wait after the first failed try."""
    longest: float
    factor: float = 2.0
    """How much longer each wait is than the one before."""
    spread: float = 0.0
    """The wait is up to this much longer, at random: two programs do not try in step."""

    def seconds(self, failed: int) -> float:
        """The wait after a number of failed tries, from 1."""
        steps = min(failed - 1, 60)  # far beyond any `longest`, and no overflow
        wait = min(self.first * self.factor**steps, self.longest)
        return wait + random.uniform(0, self.spread)  # noqa: S311 - no secret
