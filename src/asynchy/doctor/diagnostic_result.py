"""What a test of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass

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


def skipped(what: str, why: str) -> DiagnosticResult:
    """What could not be tried because of a failure that was named before."""
    return DiagnosticResult(what, False, why, skipped=True)


def failed(what: str, error: AsynchyError) -> DiagnosticResult:
    """What an error kept from working."""
    return DiagnosticResult(what, False, str(error), error.hint)
