"""What came home in a span of time, what failed, and what was checked. Pure.

for each copy with attempts in the span: what became of it, bytes and seconds
add up: what came home, how fast, what failed
add up the verifications and audits
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Experiment
from asynchy.model.history import PastAttempt, PastCheck

_GOOD = frozenset({Verdict.COMPLETE, Verdict.TRANSFERRED})


class CopyNews(Enum):
    """What became of a copy in a span; the value is the word that people read."""

    CAME = "came home"
    ADOPTED = "adopted"
    """It was at home before, and was compared by `asynchy adopt`: nothing came."""
    MORE = "more came"
    SAME = "nothing new"
    INCOMPLETE = "not complete"


@dataclass(frozen=True)
class CopyActivity:
    """What was done for one copy."""

    experiment: Experiment
    project: str
    destination: str
    news: CopyNews
    files: int
    """Files that were moved; those of attempts of which it is not known count as none."""
    bytes: int
    seconds: float
    """How long attempts for it ran."""
    attempts: int
    failed: int
    """Attempts that failed, or ended before their time."""
    reason: str | None
    """Why it is not complete, as of the last attempt in the span; None: it is."""

    @property
    def rate(self) -> float | None:
        """Bytes a second while attempts ran; None: nothing was moved."""
        return self.bytes / self.seconds if self.bytes and self.seconds else None


@dataclass(frozen=True)
class CheckTotals:
    """The verifications, or the audits, of a span."""

    checks: int = 0
    files: int = 0
    bytes: int = 0
    wrong: int = 0
    """Copies with files that differ, or are missing."""
    unfinished: int = 0
    """Checks that did not look at all that they were to look at."""


@dataclass(frozen=True)
class Activity:
    """What was done in a span."""

    since: datetime
    until: datetime
    copies: tuple[CopyActivity, ...]
    """Those for which attempts ended in the span; what is not complete first, then by EPN."""
    seconds: float
    """How long any attempt ran; two at the same time count once."""
    verified: CheckTotals
    audited: CheckTotals
    attention: tuple[str, ...]
    """What needs a person now, a sentence each."""

    @property
    def bytes(self) -> int:
        """What was moved."""
        return sum(one.bytes for one in self.copies)

    @property
    def files(self) -> int:
        """The files of that."""
        return sum(one.files for one in self.copies)

    @property
    def rate(self) -> float | None:
        """Bytes a second while any attempt ran; None: nothing was moved."""
        return self.bytes / self.seconds if self.bytes and self.seconds else None

    def number(self, news: CopyNews) -> int:
        """Copies of which that became."""
        return sum(one.news is news for one in self.copies)


def activity(
    since: datetime,
    until: datetime,
    attempts: Iterable[PastAttempt],
    checks: Iterable[PastCheck],
    attention: Sequence[str] = (),
) -> Activity:
    """What was done from `since` until before `until`; `attempts` and `checks` are of that span."""
    by_copy: dict[tuple[Experiment, str], list[PastAttempt]] = defaultdict(list)
    for one in attempts:
        by_copy[one.experiment, one.destination].append(one)
    found = [_of_copy(some) for some in by_copy.values()]
    found.sort(key=lambda one: (one.news is not CopyNews.INCOMPLETE, one.experiment))
    checked = list(checks)
    return Activity(
        since=since,
        until=until,
        copies=tuple(found),
        seconds=time_covered([one.attempt for some in by_copy.values() for one in some]),
        verified=_totals(one for one in checked if one.check.kind == "verify"),
        audited=_totals(one for one in checked if one.check.kind == "audit"),
        attention=tuple(attention),
    )


def time_covered(attempts: Iterable[Attempt]) -> float:
    """Seconds in which any of some attempts ran."""
    covered = 0.0
    end: datetime | None = None
    for one in sorted(attempts, key=lambda attempt: attempt.started):
        begin = one.started if end is None else max(one.started, end)
        if one.ended > begin:
            covered += (one.ended - begin).total_seconds()
            end = one.ended
    return covered


def rate_of(attempts: Sequence[Attempt]) -> float | None:
    """Bytes a second while any of some attempts moved something; None: none did."""
    moving = [one for one in attempts if one.bytes]
    moved, seconds = sum(one.bytes or 0 for one in moving), time_covered(moving)
    return moved / seconds if moved and seconds else None


def _of_copy(some: Sequence[PastAttempt]) -> CopyActivity:
    last = some[-1]
    moved = [one.attempt for one in some]
    size = sum(one.bytes or 0 for one in moved)
    return CopyActivity(
        experiment=last.experiment,
        project=last.project,
        destination=last.destination,
        news=_news(some, size),
        files=sum(one.files or 0 for one in moved),
        bytes=size,
        seconds=sum((one.ended - one.started).total_seconds() for one in moved),
        attempts=len(moved),
        failed=sum(one.verdict not in _GOOD for one in moved),
        reason=last.attempt.reason if last.attempt.verdict is not Verdict.COMPLETE else None,
    )


def _news(some: Sequence[PastAttempt], size: int) -> CopyNews:
    if some[-1].attempt.verdict is not Verdict.COMPLETE:
        return CopyNews.INCOMPLETE
    if not some[0].again:
        came = any(one.attempt.engine for one in some)
        return CopyNews.CAME if came else CopyNews.ADOPTED
    return CopyNews.MORE if size else CopyNews.SAME


def _totals(some: Iterable[PastCheck]) -> CheckTotals:
    found = list(some)
    wrong = {
        (one.experiment, one.destination)
        for one in found
        if one.check.different or one.check.missing
    }
    return CheckTotals(
        checks=len(found),
        files=sum(one.check.files for one in found),
        bytes=sum(one.check.bytes for one in found),
        wrong=len(wrong),
        unfinished=sum(not one.check.whole for one in found),
    )
