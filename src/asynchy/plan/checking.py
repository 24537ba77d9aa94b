"""Which copies are held against the facility again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asynchy.domain.attempt import Claim
from asynchy.domain.experiment import Copy
from asynchy.domain.text import moment
from asynchy.plan.backlog import is_plain
from asynchy.plan.decide import claimed
from asynchy.plan.outcome import Due, Left, LeftOut, Why


@dataclass(frozen=True)
class Kept:
    """A copy as the catalogue knows it."""

    id: int
    """Its number in the catalogue."""
    copy: Copy
    complete: bool
    doubted: bool
    """Whether files were found missing, or to differ from the facility's, once complete."""
    vanished: datetime | None
    """When a walk no longer found the experiment at the facility; None: it is there."""
    attempts: int
    audits: int
    """Audits of it that came to their end."""
    audited: datetime | None
    """When the latest of all its audits ended."""
    claim: Claim | None
    """A claim of another process that is alive."""


def to_verify(
    kept: Iterable[Kept], epns: Collection[str], is_there: Callable[[Path], bool]
) -> list[Due | LeftOut]:
    """The copies that are, or were, complete; those of the EPNs that are named, or all.

    What is not to be had is left out, with the reason.
    """
    decided: list[Due | LeftOut] = []
    for item in kept:
        copy = item.copy
        if epns and copy.epn.text not in epns:
            continue
        if item.vanished is not None and not epns:
            gone = f"since {moment(item.vanished)}"
            decided.append(LeftOut(copy.epn, Left.GONE, gone, copy.project))
        elif item.complete or item.doubted:
            decided.append(_decide(item, is_there))
        elif epns:
            decided.append(LeftOut(copy.epn, Left.INCOMPLETE, "", copy.project))
    return decided


def _decide(item: Kept, is_there: Callable[[Path], bool]) -> Due | LeftOut:
    copy = item.copy
    if not is_there(copy.destination):
        return LeftOut(copy.epn, Left.NO_COPY, str(copy.destination), copy.project)
    if not is_plain(copy.source):
        return LeftOut(copy.epn, Left.ODD_SOURCE, copy.source, copy.project)
    if item.claim is not None:
        return claimed(copy, item.claim)
    return Due(copy, Why.DIFFERENT if item.doubted else Why.VERIFIED)
