"""The protocol of an engine; tests/contract checks each engine against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, Entry, ListingDiff
from asynchy.model.lease import Lease
from asynchy.model.verification import Recorded

OnProgress = Callable[[int, int], None]
"""Called with the bytes and the files that have arrived so far.

The first call, if it has no files, has the bytes that an earlier run left.
"""


class FileSource(Protocol):
    """The listed entries of an experiment; streamed, since there may be 10^7 files."""

    def files(self, larger_than: int) -> Iterator[Entry]:
        """The files larger than `larger_than` bytes, the largest first; then the others by path.

        Files that people changed at home are not among them, as far as is known.
        """

    def folders(self) -> Iterator[Entry]:
        """The folders by their path; `.` is the experiment's own."""

    def recorded(self, path: bytes) -> Recorded | None:
        """The facts recorded when a file arrived; None: not known."""


@dataclass(frozen=True)
class Job:
    """A copy that is to hold what its experiment holds."""

    copy: Copy
    listing_diff: ListingDiff
    """The listing that the contents are of, compared with the copy."""
    contents: FileSource
    replaced: Path
    """A folder beside the copy, which does not exist yet, for the files that the facility's
    replace.
    """
    lease: Lease | None = None
    """Under which the copy is written; None: nobody else works on it."""
    restore: bool = False
    """Whether the facility's files take the place of those that people changed, too."""


class Engine(Protocol):
    """Moves the files of an experiment to its destination.

    Doing it again moves only what differs. Files that are not at the facility, or that people
    changed at home, are left alone. Files that the facility's replace are kept.
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
        """The check that it makes of arriving bytes, as attempts record it."""

    @property
    def compare(self) -> str:
        """By what a file at home counts as the same as the facility's."""

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
