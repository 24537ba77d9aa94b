"""The history of copies: one attempt or check, with its copy."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.model.attempt import Attempt
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Check


@dataclass(frozen=True)
class PastAttempt:
    """An attempt, with the copy that it was for."""

    experiment: Experiment
    project: str
    destination: str
    attempt: Attempt
    again: bool
    """Whether an attempt before it had completed the copy."""


@dataclass(frozen=True)
class PastCheck:
    """A verification or an audit, with the copy that it was of."""

    experiment: Experiment
    project: str
    destination: str
    check: Check
