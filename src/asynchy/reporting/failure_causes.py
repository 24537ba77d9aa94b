"""Why attempts failed, by a few causes that differ in who can do something about them. Pure.

A cause follows from the verdict and from the reason that was stored; the reasons are those of
`ssh/error_causes.py`, `ssh/rsync/output.py`, the engines and `copying/outcome_rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Experiment
from asynchy.model.history import PastAttempt

LATELY = timedelta(hours=24)


class FailureCause(Enum):
    """The name is that of the metric's label, in small letters; the value is what people read."""

    NO_ROOM = "no room at home"
    HOME = "cannot be written at home"
    REFUSED = "the facility's server refused us"
    CONNECTION = "the connection was lost"
    FACILITY = "cannot be read at the facility"
    CHANGED = "changed at the facility while it was fetched"
    DIFFERENT = "other bytes than at the facility"
    INTERRUPTED = "the process died"
    OTHER = "another cause"

    @property
    def what_to_do(self) -> str:
        """The next step, for people."""
        return _STEPS[self]


_STEPS = {
    FailureCause.NO_ROOM: "free space or inodes, or raise the quota of the project",
    FailureCause.HOME: "`asynchy doctor` tries to write each project folder",
    FailureCause.REFUSED: "`asynchy doctor` says what is wrong with the key, the host key or the "
    "address",
    FailureCause.CONNECTION: "it is tried again; if it goes on for a day, ask the facility",
    FailureCause.FACILITY: "ask the facility to let the user read it",
    FailureCause.CHANGED: "it is tried again once nobody writes to it any more",
    FailureCause.DIFFERENT: "`asynchy verify EPN` compares, and fetches again; look at the disks",
    FailureCause.INTERRUPTED: "look for a restart or for lack of memory at that time",
    FailureCause.OTHER: "`asynchy status EPN` has the whole reason",
}
_VERDICTS = {
    Verdict.CHANGED: FailureCause.CHANGED,
    Verdict.DIFFERENT: FailureCause.DIFFERENT,
    Verdict.INTERRUPTED: FailureCause.INTERRUPTED,
}
_WORDS: tuple[tuple[FailureCause, str], ...] = (
    (FailureCause.NO_ROOM, r"ENOSPC|EDQUOT|No space left|quota"),
    (
        FailureCause.HOME,
        r"EROFS|EACCES|EXDEV|EFBIG|destination|at home|Read-only file system",
    ),
    (
        FailureCause.REFUSED,
        r"host key|SSH key|key file|the keys? |keys one after|password|refused the connection|"
        r"name cannot be resolved|runs no commands|other than rsync|rsync is not offered|"
        r"known_hosts|sent a name that leads out|no SSH server|its configuration|ssh_config|"
        r"command that the server runs",
    ),
    (
        FailureCause.CONNECTION,
        r"connection|ssh could not connect|no data came|closed|timed out|stood still|"
        r"process died|streams? (was|were) lost|crashed|was killed|ended the command|"
        r"remote command",
    ),
    (
        FailureCause.FACILITY,
        r"at the facility|no such folder|could not be listed|vanished|could not be fetched",
    ),
)
_FACILITY_FIRST = re.compile(r"may not be read|no such folder at the facility")


@dataclass(frozen=True)
class CauseTotals:
    """The attempts that failed because of one cause."""

    cause: FailureCause
    attempts: int
    lately: int
    """Those of the last 24 hours."""
    experiments: int
    latest: datetime
    example: Experiment
    """The experiment of the latest of them."""


def cause_of(attempt: Attempt) -> FailureCause | None:
    """Why an attempt failed; None: it did not, or was stopped."""
    if attempt.verdict in _VERDICTS:
        return _VERDICTS[attempt.verdict]
    if attempt.verdict is not Verdict.FAILED:
        return None
    return cause_in(attempt.reason or "")


def cause_in(reason: str) -> FailureCause:
    """The cause that a reason names."""
    if _FACILITY_FIRST.search(reason):  # its EACCES is not ours
        return FailureCause.FACILITY
    for cause, pattern in _WORDS:
        if re.search(pattern, reason):
            return cause
    return FailureCause.OTHER


def by_cause(attempts: Iterable[PastAttempt], now: datetime) -> list[CauseTotals]:
    """What failed, by cause, the cause of most attempts first; `attempts` are in order of time."""
    failed: dict[FailureCause, list[PastAttempt]] = {}
    for one in attempts:
        cause = cause_of(one.attempt)
        if cause is not None:
            failed.setdefault(cause, []).append(one)
    found = [
        CauseTotals(
            cause,
            attempts=len(some),
            lately=sum(now - one.attempt.ended <= LATELY for one in some),
            experiments=len({one.experiment for one in some}),
            latest=some[-1].attempt.ended,
            example=some[-1].experiment,
        )
        for cause, some in failed.items()
    ]
    return sorted(found, key=lambda one: (-one.lately, -one.attempts, one.cause.name))
