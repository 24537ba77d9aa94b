"""What every engine does; tests/contract holds each engine to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, Entry, ListingDiff
from asynchy.model.verification import Recorded

OnProgress = Callable[[int, int], None]
"""Hears how many bytes, and how many files, have arrived in this run so far."""


class FileSource(Protocol):
    """What an experiment holds, as it was listed; streamed, for it may be 10^7 files."""

    def files(self, larger_than: int) -> Iterator[Entry]:
        """The files larger than `larger_than` bytes, the largest first; then the others by path.

        Files that people changed at home are not among them, as far as is known.
        """

    def folders(self) -> Iterator[Entry]:
        """The folders by their path; `.` is the experiment's own."""

    def recorded(self, path: bytes) -> Recorded | None:
        """What a file was when it arrived; None: that is not known."""


@dataclass(frozen=True)
class Job:
    """A copy that is to hold what its experiment holds."""

    copy: Copy
    listing_diff: ListingDiff
    """The listing that the contents are of, compared with the copy."""
    contents: FileSource
    replaced: Path
    """A folder that is not there yet, beside the copy: where files are kept that the facility's
    take the place of."""
    restore: bool = False
    """Whether the facility's files take the place of those that people changed, too."""


class Engine(Protocol):
    """Moves the files of an experiment to its destination.

    Doing it again moves only what differs. Files that are not at the facility, or that people
    changed at home, are left alone. What the facility's files take the place of is kept.
    Stopped or killed at any instant, each file at the destination is the old one or the new one.
    """

    @property
    def name(self) -> str:
        """The engine's name, as attempts record it."""

    @property
    def chosen(self) -> str:
        """Why it is this engine, as text for people, as attempts record it."""

    @property
    def check(self) -> str:
        """What it checks of the bytes that arrive, as attempts record it."""

    @property
    def compare(self) -> str:
        """What makes a file at home the same as the facility's."""

    def require(self) -> None:
        """Look for the programs that it needs, before anything is begun.

        Raises:
            ToolMissing: one is not installed.
        """

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Make the destination hold what the experiment holds; a failure is a result, too.

        Raises:
            ToolMissing: a program that it needs is not installed.
            CatalogueError: the contents cannot be read.
            OSError: the destination's own folder cannot be made.
        """
