"""Times stored by a wrong clock, and the tolerance between two clocks."""

from __future__ import annotations

from datetime import datetime, timedelta

from asynchy.model.formatting import duration

SKEW = timedelta(minutes=1)
"""By how much this clock and another one may differ."""


def is_future(moment: datetime, now: datetime) -> bool:
    """Whether a stored time is in the future: the clock was ahead when it was stored.

    The action of that time counts as not done, since its real time is not known.
    """
    return moment > now + SKEW


def is_wrong(offset: float | None) -> bool:
    """Whether this clock is wrong; `offset`: seconds by which another one is ahead of it.

    None: it is not known, and the clock counts as right.
    """
    return offset is not None and abs(offset) > SKEW.total_seconds()


def apart(offset: float) -> str:
    """By how much the portal's clock is ahead of ours (in seconds), as text for people."""
    return f"{duration(abs(offset))} {'behind' if offset > 0 else 'ahead of'} the portal's"
