"""The combined result of several streams."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from asynchy.engines.faults import Fault
from asynchy.engines.sftp.messages import ConnectionLost, Failed, LocalFailure


@dataclass
class FetchStats:
    """Counts of the streams' work."""

    bytes: int = 0
    files: int = 0
    faults: dict[Fault, int] = field(default_factory=lambda: defaultdict(int))
    """How many files could not be fetched, and why."""
    first_fault: str = ""
    """The first of them, as text for people."""
    hint: str | None = None
    """The hint for that one."""
    first_undated: str = ""
    """The first that is at home without its time."""
    lost: ConnectionLost | None = None
    """Why the last connection was lost."""
    broken: LocalFailure | None = None
    """A failure of this machine."""

    def note(self, event: Failed, text: str) -> None:
        """Count a fault of a file."""
        if event.fault is Fault.NO_TIME:
            self.first_undated = self.first_undated or text
        elif not self.first_fault:
            self.first_fault, self.hint = text, event.hint
        self.faults[event.fault] += 1

    def merge_faults(self, other: FetchStats) -> None:
        """Count the faults of files that others fetched."""
        for fault, number in other.faults.items():
            self.faults[fault] += number
        if not self.first_fault:
            self.first_fault, self.hint = other.first_fault, other.hint
        self.first_undated = self.first_undated or other.first_undated
