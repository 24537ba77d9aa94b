"""What a walk, listing or import found."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.model.experiment import LocatedExperiment
from asynchy.model.formatting import escaped


@dataclass(frozen=True)
class Changes:
    """What a sighting found of one experiment, against what was known before."""

    files: int
    bytes: int
    new: int
    changed: int
    vanished: int

    @property
    def any(self) -> bool:
        """Whether anything is not as it was."""
        return bool(self.new or self.changed or self.vanished)


@dataclass(frozen=True)
class ScanProblem:
    """A folder that could not be listed."""

    source: str
    path: bytes
    reason: str

    def __str__(self) -> str:
        folder = self.source if self.path == b"." else f"{self.source}/{escaped(self.path)}"
        return f"{folder}: {self.reason}"


@dataclass(frozen=True)
class NotFound:
    """An experiment that the catalogue knows and a walk did not find."""

    id: int
    located: LocatedExperiment
    complete: bool
    """Whether any copy of it was ever complete."""
