"""Names and times that all of a world uses."""

from __future__ import annotations

from datetime import UTC, datetime

BEGIN = datetime(2026, 1, 1, 2, tzinfo=UTC)
"""When the first cycle runs; the next ones follow every 24 hours."""
EQUIPMENT = {23: "mx1", 24: "mx2"}
"""Equipment at the portal, and its beamline."""
Name = tuple[str, str]
"""Beamline and EPN."""
Files = dict[str, tuple[int, int]]
"""By path, size in bytes and time in seconds since 1970."""


def shown(name: Name) -> str:
    """An experiment for people."""
    return f"{name[0]}/{name[1]}"


def proposal_of(epn: str) -> str:
    """The digits of an EPN."""
    return epn.rstrip("abcdefghijklmnopqrstuvwxyz")
