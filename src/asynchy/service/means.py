"""How files are moved, by the config."""

from __future__ import annotations

from asynchy.config import Shared
from asynchy.plan.engine import Means


def means_of(settings: Shared) -> Means:
    """What the config says of how files are moved."""
    return Means(
        engine=settings.engine,
        compare=settings.compare,
        symlinks=settings.symlinks,
        special_files=settings.special_files,
        streams=settings.streams,
        bandwidth=settings.bandwidth_limit,
        verify=settings.verify,
        manifest=settings.manifest,
        receipt=settings.receipt,
    )
