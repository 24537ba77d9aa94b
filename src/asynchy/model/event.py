"""Events of an experiment, in addition to attempts and checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from asynchy.model.experiment import Experiment


class EventKind(Enum):
    """The kind of event; the value is stored, and is the text for people."""

    RELEASED = "released"
    """A person released it: it need not come home."""
    TAKEN_BACK = "release taken back"
    """A person took the release back."""
    MOVED = "moved at the facility"
    """Its folder there has another path."""
    RENAMED = "on another beamline"
    """It is known under another beamline from then on."""
    HANDED_ON = "handed on"
    """A command of `on-complete` was run for it and ended with 0."""
    NOT_HANDED_ON = "not handed on"
    """A command of `on-complete` failed for it; it is run again."""


@dataclass(frozen=True)
class Event:
    """One of them."""

    experiment: Experiment
    at: datetime
    kind: EventKind
    detail: str
    """Such as the reason that a person gave."""
