"""One experiment as a list shows it: state, owner, size, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ExperimentSummary:
    """What the dashboard, its API and its metrics say of one experiment. Sizes in bytes."""

    epn: str
    beamline: str
    """Empty: not known."""
    proposal: int
    project: str
    """Empty: nobody has said."""
    state: str
    """The name of a `State` in lower case, such as `at_home`."""
    cause: str
    """Why it needs a person, in a few words; empty: it does not."""
    is_settled: bool
    """Whether nothing is left to do for it, as far as is known."""
    is_asked_for: bool
    """Whether a transfer of it is to come: it is due and nothing is in the way."""
    why: str
    """Why it is in its state, in one sentence."""
    next_step: str
    """What happens next, or what a person has to do; empty: nothing."""
    attention: str
    """What else a person should look at; empty: nothing."""
    title: str
    """The proposal's, of the latest visit; empty: not known."""
    person: str
    """Who led the latest visit; empty: not known."""
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
    """What is proven of the copy that counts; empty: nothing."""
    completed: datetime | None
    verified: datetime | None
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
