"""The results of a decision: a transfer with its reason, or the reason against one.

The dry run prints these objects; the live run executes the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, DataSize, Experiment, ListingDiff

if TYPE_CHECKING:
    from asynchy.model.experiment_state import ExperimentState


class _Reason(NamedTuple):
    text: str
    stays_due: bool
    needs_person: bool = False


class SkipReason(Enum):
    """Why an experiment is left out of a run, and the consequences."""

    RUNNING = _Reason("a visit is running", False)
    LATER = _Reason("its visit ended after the running one began", False)
    NOT_BEGUN = _Reason("its visit has not begun", False)
    IGNORED = _Reason("listed in ignore.yml", False)
    COMPLETE = _Reason("complete since its last visit", False)
    ELSEWHERE = _Reason("complete by the original program, which did not say where", False)
    GONE = _Reason("no longer found at the facility", False)
    RELEASED = _Reason("released by a person", False)
    LOST = _Reason("gone from the facility, and not complete at home", True, True)
    UNCOMPARED = _Reason(
        "what is at home was not compared before it was gone from the facility", False, True
    )
    ODD_SOURCE = _Reason("its path at the facility cannot be used", True, True)
    INCOMPLETE = _Reason("it is not complete yet", True)
    COPY_MISSING = _Reason("its copy is not at home", True, True)
    UNMOUNTED = _Reason(
        "its place at home cannot be reached: the folder above it is missing, or has no copy",
        True,
        True,
    )
    DAMAGED = _Reason("files are missing or damaged", True, True)
    UNMAPPED = _Reason("no project for its proposal in epn_cap_map", False, True)
    NO_PROJECT_FOLDER = _Reason("the project folder is not there", True, True)
    SAME_DESTINATION = _Reason("another experiment has the same destination", True, True)
    NESTED = _Reason("its place is inside or around another copy of it", True, True)
    CLAIMED = _Reason("another process works on it", True)
    ABSENT = _Reason("there is no such folder at the facility", True, True)
    EMPTY = _Reason("nothing there yet: it has no files at the facility", True)
    ALL_LEFT_OUT = _Reason("all that it has at the facility is left out", True, True)
    NOT_A_FOLDER = _Reason("what is in its place at the facility is not a folder", True, True)
    SECOND_FOLDER = _Reason(
        "the facility has a second folder of the same EPN, which is not fetched", True, True
    )
    UNKNOWN = _Reason("the catalogue does not know it", True, True)
    UNDATED = _Reason("it is not known of when its files are", True, True)
    UNJUDGED = _Reason("asynchy could not derive its state", True, True)
    UNREACHABLE = _Reason("no connection to the facility's server could be made", True)
    UNLISTED = _Reason("could not be listed at the facility", True)
    DESTINATION = _Reason("the destination cannot be read", True, True)
    IN_THE_WAY = _Reason("a symbolic link or a file is in its place at home", True, True)
    NO_SPACE = _Reason("not enough free space", True, True)
    NO_INODES = _Reason("not enough free inodes", True, True)

    @classmethod
    def said_in(cls, reason: str) -> SkipReason | None:
        """The reason that a note of a cycle begins with; None: it begins with another text."""
        texts = {one.value.text: one for one in cls}
        whole = [text for text in texts if reason == text or reason.startswith(f"{text}: ")]
        return texts[max(whole, key=len)] if whole else None

    @property
    def text(self) -> str:
        """The reason as text for people."""
        return self.value.text

    @property
    def stays_due(self) -> bool:
        """Whether something has to be done before it comes home."""
        return self.value.stays_due

    @property
    def needs_person(self) -> bool:
        """Whether a later cycle cannot settle it by itself."""
        return self.value.needs_person

    @property
    def is_mount(self) -> bool:
        """Whether it concerns a file system at home, so that it is reported once."""
        return self in (SkipReason.UNMOUNTED, SkipReason.NO_PROJECT_FOLDER)

    @property
    def ends_well(self) -> bool:
        """Whether a run that leaves something out for this has nothing to complain of."""
        return not (self.stays_due or self.needs_person)


class DueReason(Enum):
    """Why an experiment is due."""

    NEW = "never fetched"
    RETURNED = "a visit has ended since it was fetched"
    REMOVED = "fetched before, but not in ignore.yml"
    CHANGED = "changes were seen at the facility since it was fetched"
    DIFFERENT = "files in it were found missing, or to differ from the facility's"
    LATE = "looked at a second time for what was written late"
    VERIFIED = "its bytes are to be compared"
    CLOCK = "it was last compared by a clock that was ahead"
    AGAIN = "an earlier attempt did not complete it"
    MOVED = "its copy is not at its old place, and data are where the config asks for it"


@dataclass(frozen=True)
class Skipped:
    """An experiment that this run does not transfer."""

    experiment: Experiment
    reason: SkipReason
    detail: str = ""
    project: str | None = None

    @property
    def epn(self) -> Epn:
        """The EPN of the experiment."""
        return self.experiment.epn

    def __str__(self) -> str:
        return f"{self.reason.text}: {self.detail}" if self.detail else self.reason.text


@dataclass(frozen=True)
class DueCopy:
    """An experiment that is due, before it has been listed."""

    copy: Copy
    why: DueReason
    expected: DataSize | None = None
    """The expected size of the transfer, if the catalogue knows it."""

    @property
    def experiment(self) -> Experiment:
        """The experiment that the copy is of."""
        return self.copy.experiment


@dataclass(frozen=True)
class PlannedTransfer:
    """The intent to make a copy complete."""

    copy: Copy
    why: DueReason
    listing_diff: ListingDiff


@dataclass(frozen=True)
class Plan:
    """The transfers of one run, and the experiments that it leaves out."""

    transfers: tuple[PlannedTransfer, ...]
    left_out: tuple[Skipped, ...]
    problems: tuple[str, ...]
    """Failed requests; while there is one, not all running visits are known."""
    unlisted: tuple[str, ...] = ()
    """Folders of experiments that could not be listed, so that more may be visible."""
    states: tuple[ExperimentState, ...] = ()
    """Of every experiment that is known; empty: the run is not about all of them."""
    ignored: frozenset[str] = frozenset()
    """The EPNs with an entry in `ignore.yml`."""
    notices: tuple[str, ...] = ()
    """Further notes for people, such as a visit that has been running for weeks."""
    odd_rows: tuple[str, ...] = ()
    """Rows of the catalogue that were left out because their EPN is none, a sentence each."""
    beyond_limit: int = 0
    """Experiments that are due, and were not looked at because of a limit to their number."""

    @property
    def unsure(self) -> str | None:
        """Why no copy may be marked complete: not every running visit is known."""
        return "the portal could not report all running visits" if self.problems else None


@dataclass(frozen=True)
class FreeSpace:
    """Free space for an unprivileged user at a destination; None: not reported."""

    bytes: int | None
    inodes: int | None

    def less(self, listing_diff: ListingDiff) -> FreeSpace:
        """The free space after all missing files of the difference have arrived."""
        entries = listing_diff.missing_files + listing_diff.missing_folders
        return FreeSpace(
            bytes=None if self.bytes is None else self.bytes - listing_diff.missing_space,
            inodes=None if self.inodes is None else self.inodes - entries,
        )
