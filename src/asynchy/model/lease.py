"""The right of one process to work on a copy, for as long as it is renewed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from asynchy.errors import LeaseLost

_MARGIN = 60.0
"""Seconds before its end from which on a lease does not count for its holder any more."""


@dataclass(eq=False)
class Lease:
    """One lease. Its number is higher than that of any earlier lease of the copy.

    Who holds it stops by its own clock before another may begin by the database's: that clock goes
    on while a process is stopped (SIGSTOP) or the machine sleeps.
    """

    copy_id: int
    number: int
    lasts: float | None
    """Seconds for which it holds without being renewed; None: as long as the process lives, which
    others on this machine can see."""
    renewed: float = 0.0
    former_may_live: bool = False
    """Whether the process that had the lease before may still be there, and write to its files."""
    lost: bool = False
    _hearers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def is_shared(self) -> bool:
        """Whether other machines may take it over."""
        return self.lasts is not None

    @property
    def is_held(self) -> bool:
        """Whether it is sure that no other process has it."""
        if self.lost or self.lasts is None:
            return not self.lost
        return clock() - self.renewed < self.lasts - _MARGIN

    def renew(self, asked: float) -> None:
        """It was renewed; `asked`: what `clock` said before the database was asked."""
        self.renewed = asked

    def when_lost(self, hearer: Callable[[], None]) -> None:
        """Have somebody told once it is lost."""
        self._hearers.append(hearer)
        if self.lost:
            hearer()

    def give_up(self) -> None:
        """It is lost: all that works under it stops, at once."""
        self.lost = True
        for hearer in self._hearers:
            hearer()

    def require(self) -> None:
        """See that it is held.

        Raises:
            LeaseLost: that is not sure.
        """
        if not self.is_held:
            raise LeaseLost(
                "this process was stopped, or cut off from the catalogue, for minutes; another may "
                "work on this copy by now",
                hint="nothing more is written to the copy; the next cycle goes on from where it is",
            )


def clock() -> float:
    """Seconds that pass also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
