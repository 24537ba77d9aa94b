"""An EPN without an experiment: what the config and `ignore.yml` have about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.errors import NothingKnown
from asynchy.model.epn import Epn
from asynchy.model.plan import SkipReason
from asynchy.model.policy import BY_ORIGINAL, IgnoreEntry, Origin

_UNSEEN = "the portal reported no visit, and no walk or cycle has seen it"


@dataclass(frozen=True)
class Unseen:
    """What `asynchy status EPN` says of it."""

    epn: Epn
    state: str
    reason: str
    project: str | None
    next_step: str


def explain_unseen(epn: Epn, project: str | None, entry: IgnoreEntry | None, config: str) -> Unseen:
    """Why nothing is known of it; `entry`: of `ignore.yml`.

    Raises:
        NothingKnown: nothing names it.
    """
    if project is None and entry is None:
        raise NothingKnown(
            f"{epn} is unknown: {_UNSEEN}",
            hint="check the spelling; `asynchy walk` and `mxsync` find what is at the facility",
        )
    skips = entry is not None and entry.origin in (Origin.PERSON, Origin.ORIGINAL)
    if not skips:
        step = f"it is fetched after its visit; asynchy --config {config} walk looks for it now"
        return Unseen(epn, "not seen yet", _UNSEEN, project, step)
    assert entry is not None
    who = f": {BY_ORIGINAL}" if entry.origin is Origin.ORIGINAL else ""
    reason = f"{SkipReason.IGNORED.text}{who}; {_UNSEEN}"
    step = "nothing; to have it fetched, take it out of ignore.yml"
    return Unseen(epn, "skipped", reason, project, step)
