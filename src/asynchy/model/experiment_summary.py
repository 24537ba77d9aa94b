"""One experiment as a list shows it: state, owner, size, next step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ExperimentSummary:
    """One experiment for the dashboard, its API and its metrics. Sizes in bytes."""

    epn: str
    beamline: str
    """Empty: not known."""
    proposal: int
    project: str
    """Empty: none is assigned."""
    state: str
    """The name of a `State` in lower case, such as `at_home`."""
    cause: str
    """Why it needs a person, in a few words; empty: it does not."""
    is_settled: bool
    """Whether nothing is left to do for it, as far as is known."""
    is_asked_for: bool
    """Whether a transfer will follow: it is due and nothing prevents it."""
    why: str
    """Why it is in its state, in one sentence."""
    next_step: str
    """What happens next, or what a person has to do; empty: nothing."""
    attention: str
    """Other things for a person to check; empty: nothing."""
    title: str
    """The proposal's, of the latest visit; empty: not known."""
    person: str
    """The principal scientist of the latest visit; empty: not known."""
    email: str
    measured: datetime | None
    """The end of its latest visit, or the time of its latest file; None: not known."""
    year: str
    """Of that; empty: not known."""
    files: int | None
    """At the facility, as last listed; None: never listed."""
    bytes: int | None
    home_files: int
    """In complete copies that are at their places."""
    home_bytes: int
    damaged: int
    """Files at home that are missing, or in which something was found wrong."""
    level: str
    """The level of proof of the copy that counts; empty: none."""
    completed: datetime | None
    verified: datetime | None
    left_out: str
    """What is not brought home because of its kind, such as `2 links`, or `not counted`; empty:
    nothing is, or there is no complete copy.
    """
    destination: str
    """The place at home that the config asks for, or where its copy is; empty: not known."""
    source: str
    """Its folder at the facility; empty: not known."""
    vanished: datetime | None
    """When it was no longer found there; None: it is there, or was never seen."""
    risk: str
    """Why the facility may delete it before it is safe at home; empty: it is safe."""
    kept_until: datetime | None
    """When the facility may delete it, if it is not safe at home; None: not known, or safe."""
    suggestion: str
    """The project that it probably belongs to, if it has none."""
    suggestion_reason: str
    """Why that one; without a suggestion, between which projects a person has to choose."""
