"""The faults of single files in a transfer, and how they are logged."""

from __future__ import annotations

import logging
from enum import Enum

from asynchy.model.formatting import count

log = logging.getLogger(__name__)

MAX_NAMED = 10
"""Files that are named in the log as warnings."""


class Fault(Enum):
    """Why a chunk could not be fetched, or did not get its time; the worst is the last."""

    NO_TIME = "it is at home without its time"
    CHANGED = "it changed at the facility meanwhile"
    REFUSED = "it may not be read at the facility (EACCES)"
    FAILED = "it could not be read"
    NOT_PLACED = "it could not be put in its place"


def log_fault(number: int, message: str, hint: str | None) -> None:
    """Log the fault of a file and its hint; `number`: faults logged so far."""
    level = logging.WARNING if number <= MAX_NAMED else logging.INFO
    log.log(level, "%s", f"{message} ({hint})" if hint else message)


def not_fetched(number: int, first_fault: str, undated: int = 0, first_undated: str = "") -> str:
    """That some files are not at home now, or without their time, as text for people."""
    sentences = []
    if number:
        sentences.append(
            f"{count(number, 'file')} could not be fetched, the first of them {first_fault}"
        )
    if undated:
        predicate = f"{'is' if undated == 1 else 'are'} at home without the right time"
        sentences.append(f"{count(undated, 'file')} {predicate}, the first of them {first_undated}")
    return "; ".join(sentences)
