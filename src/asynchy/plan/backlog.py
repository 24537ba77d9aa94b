"""Which experiments of the catalogue are fetched to one destination, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Amount, Copy, Experiment
from asynchy.domain.text import moment
from asynchy.plan.decide import History, claimed
from asynchy.plan.outcome import Due, Left, LeftOut, Why

_PLAIN = re.compile(r"(/[A-Za-z0-9_.@+,=-]+)+", re.ASCII)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Known:
    """An experiment as the catalogue knows it."""

    experiment: Experiment
    source: str
    """Its path at the facility as walked or imported; empty where no path was known."""
    modified: datetime | None
    """The time of its latest file; None where that is not known."""
    changed: datetime | None
    """When a walk or an import last found anything new in it."""
    amount: Amount | None
    """Its files, where a walk, a listing or an import has seen them."""
    vanished: datetime | None
    """When a walk no longer found it; None: it is there, as far as is known."""
    completed_elsewhere: bool
    """Whether the original program called it complete, without saying where."""


@dataclass(frozen=True)
class Wish:
    """What `asynchy sync` was asked for."""

    destination: Path
    source_prefix: str | None = None
    """Goes before the EPN instead of the path that was walked."""
    newest_first: bool = False
    limit: int | None = None
    epns: frozenset[str] = frozenset()
    """These alone; none: all."""
    since: datetime | None = None
    until: datetime | None = None

    def copy_of(self, known: Known) -> Copy:
        """The copy that is wanted of an experiment."""
        epn = known.experiment.epn.text
        source = known.source
        if self.source_prefix is not None or not source:
            folder = source.rpartition("/")[2]  # spelled as it is at the facility
            folder = folder if Epn.parse(folder) == known.experiment.epn else epn
            source = f"{(self.source_prefix or '').rstrip('/')}/{folder}"
        return Copy(
            experiment=known.experiment,
            project="",
            source=source,
            project_folder=self.destination,
            destination=self.destination / epn,
        )

    def takes(self, known: Known) -> bool:
        """Whether an experiment is asked for at all."""
        if self.epns and known.experiment.epn.text not in self.epns:
            return False
        if self.since is None and self.until is None:
            return True
        if known.modified is None:
            return False
        return (self.since or _NEVER) <= known.modified and (
            self.until is None or known.modified < self.until
        )


def is_plain(source: str) -> bool:
    """Whether a path at the facility holds only what no shell interprets."""
    return _PLAIN.fullmatch(source) is not None


def backlog(
    known: Iterable[Known], wish: Wish, history: Callable[[Copy], History]
) -> tuple[list[Due | LeftOut], int]:
    """What is due at the destination in order of date, and how many copies are complete there.

    `limit` bounds the due ones. What is not due for another reason is left out with it.
    """
    in_order = sorted(filter(wish.takes, known), key=_by_date, reverse=wish.newest_first)
    decided: list[Due | LeftOut] = []
    complete = due = 0
    for item in in_order:
        if wish.limit is not None and due >= wish.limit:
            break
        copy = wish.copy_of(item)
        decision = _decide(item, copy, history(copy), named=bool(wish.epns))
        due += isinstance(decision, Due)
        if decision is None:
            complete += 1
        else:
            decided.append(decision)
    return decided, complete


def _by_date(known: Known) -> tuple[datetime, Experiment]:
    return known.modified or _NEVER, known.experiment


def _decide(known: Known, copy: Copy, history: History, *, named: bool) -> Due | LeftOut | None:
    """Due, or left out with the reason; None where the copy is complete."""
    fetched = history.completed_listing
    newer = fetched is not None and known.changed is not None and known.changed > fetched
    if fetched is not None and not newer and not history.unfinished:
        return None
    left = None if named else _not_to_be_had(known, copy, fetched)
    if left is None and not is_plain(copy.source):
        left = LeftOut(copy.epn, Left.ODD_SOURCE, copy.source)
    if left is None and history.claim is not None:
        left = claimed(copy, history.claim)
    if left is not None:
        return left
    if history.doubted:
        return Due(copy, Why.DIFFERENT)
    if newer:
        return Due(copy, Why.CHANGED)
    if history.attempts:
        return Due(copy, Why.AGAIN)
    return Due(copy, Why.NEW, expected=known.amount)


def _not_to_be_had(known: Known, copy: Copy, fetched: datetime | None) -> LeftOut | None:
    """Why an experiment is fetched only if it is named."""
    if known.vanished is not None:
        return LeftOut(copy.epn, Left.GONE, f"since {moment(known.vanished)}")
    if known.completed_elsewhere and fetched is None:
        return LeftOut(copy.epn, Left.ELSEWHERE, "--epn fetches it all the same")
    return None
