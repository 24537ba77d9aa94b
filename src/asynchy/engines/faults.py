"""What can be wrong with a file of a transfer, and how people are told."""

from __future__ import annotations

import logging
from enum import Enum

from asynchy.model.formatting import count

log = logging.getLogger(__name__)

MAX_NAMED = 10
"""Files that are named in the log as warnings."""


class Fault(Enum):
    """Why a piece could not be fetched, or not have its time; the worst is the last."""

    NO_TIME = "it is at home without its time"
    CHANGED = "it changed at the facility meanwhile"
    REFUSED = "it may not be read at the facility (EACCES)"
    FAILED = "it could not be read"
    NOT_PLACED = "it could not be put in its place"


def log_fault(number: int, words: str, hint: str | None) -> None:
    """Log what is wrong with a file, and what to do; `number`: of such files so far."""
    level = logging.WARNING if number <= MAX_NAMED else logging.INFO
    log.log(level, "%s", f"{words} ({hint})" if hint else words)


def not_fetched(number: int, first: str, undated: int = 0, first_undated: str = "") -> str:
    """That some files are not at home now, or without their time, as text for people."""
    words = []
    if number:
        words.append(f"{count(number, 'file')} could not be fetched, the first of them {first}")
    if undated:
        place = f"{'is' if undated == 1 else 'are'} at home without the right time"
        words.append(f"{count(undated, 'file')} {place}, the first of them {first_undated}")
    return "; ".join(words)
