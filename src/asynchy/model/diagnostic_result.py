"""The results of `asynchy doctor`."""

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
    """All results of one run."""

    at: datetime
    host: str
    results: tuple[DiagnosticResult, ...]

    @property
    def failed(self) -> tuple[DiagnosticResult, ...]:
        """The failed checks."""
        return tuple(one for one in self.results if not one.good and not one.skipped)

    @property
    def remarks(self) -> tuple[DiagnosticResult, ...]:
        """The notes: good enough, but could be better."""
        return tuple(one for one in self.results if one.is_note)


def skipped(what: str, why: str) -> DiagnosticResult:
    """A check that was skipped because of an earlier failure."""
    return DiagnosticResult(what, False, why, skipped=True)


def failed(what: str, error: AsynchyError) -> DiagnosticResult:
    """A check that failed with an error."""
    return DiagnosticResult(what, False, str(error), error.hint)
