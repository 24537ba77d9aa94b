"""What a test of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DiagnosticResult:
    """One thing that was tried."""

    what: str
    good: bool
    found: str
    to_do: str | None = None
    skipped: bool = False
    """Whether it could not be tried because of a failure that was named before."""
