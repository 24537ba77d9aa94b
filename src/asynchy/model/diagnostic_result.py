"""What `asynchy doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asynchy.errors import AsynchyError


@dataclass(frozen=True)
class DiagnosticResult:
    """One thing that was tried."""

    what: str
    good: bool
    found: str
    to_do: str | None = None
    skipped: bool = False
    """Whether it could not be tried because of a failure that was named before."""

    @property
    def is_note(self) -> bool:
        """Whether it stands in the way of nothing, and a person should know it all the same."""
        return self.good and self.to_do is not None


@dataclass(frozen=True)
class DoctorRun:
    """All that one run found."""

    at: datetime
    host: str
    results: tuple[DiagnosticResult, ...]

    @property
    def failed(self) -> tuple[DiagnosticResult, ...]:
        """What is not as it must be."""
        return tuple(one for one in self.results if not one.good and not one.skipped)

    @property
    def remarks(self) -> tuple[DiagnosticResult, ...]:
        """What is good enough, and could be better."""
        return tuple(one for one in self.results if one.is_note)


def skipped(what: str, why: str) -> DiagnosticResult:
    """What could not be tried because of a failure that was named before."""
    return DiagnosticResult(what, False, why, skipped=True)


def failed(what: str, error: AsynchyError) -> DiagnosticResult:
    """What an error kept from working."""
    return DiagnosticResult(what, False, str(error), error.hint)
