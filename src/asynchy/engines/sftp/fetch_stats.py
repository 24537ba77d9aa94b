"""What came of the work of several streams."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from asynchy.engines.faults import Fault
from asynchy.engines.sftp.messages import ConnectionLost, Failed, LocalFailure


@dataclass
class FetchStats:
    """What the streams did."""

    bytes: int = 0
    files: int = 0
    faults: dict[Fault, int] = field(default_factory=lambda: defaultdict(int))
    """How many files could not be fetched, and why."""
    first: str = ""
    """The first of them, as text for people."""
    hint: str | None = None
    """What to do about that one."""
    first_undated: str = ""
    """The first that is at home without its time."""
    lost: ConnectionLost | None = None
    """Why there is no connection any more."""
    broken: LocalFailure | None = None
    """What is wrong on this machine."""

    def note(self, event: Failed, told: str) -> None:
        """Count a fault of a file."""
        if event.fault is Fault.NO_TIME:
            self.first_undated = self.first_undated or told
        elif not self.first:
            self.first, self.hint = told, event.hint
        self.faults[event.fault] += 1
