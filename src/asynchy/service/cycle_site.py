"""What a cycle of mxsync works with, made from the config.

It stands apart because the portal's client takes long to load, and few commands ask the portal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asynchy.config import Settings
from asynchy.domain.stop import Stop
from asynchy.facility.portal import Portal
from asynchy.plan.decide import Rules
from asynchy.service.board import Board
from asynchy.service.heard import Heard
from asynchy.service.ignore_updates import IgnoreUpdates
from asynchy.service.site import Site, site_of


@dataclass(frozen=True, kw_only=True)
class CycleSite(Site):
    """What a cycle of mxsync works with besides: the portal, and whose data is whose."""

    settings: Settings
    portal: Portal
    rules: Rules
    ignore: IgnoreUpdates
    heard: dict[int, Heard] = field(default_factory=dict)
    """By equipment: what the portal told in an earlier try of this cycle."""


def cycle_site_of(settings: Settings, stop: Stop, board: Board, *, write: bool) -> CycleSite:
    """What a `config.yml` describes; without `write`, the catalogue is only looked at.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ConfigError: `ca-bundle` or the proxy of the environment cannot be used.
    """
    site = site_of(settings, stop, board, write=write)
    return CycleSite(
        remote=site.remote,
        means=site.means,
        crew=site.crew,
        catalogue=site.catalogue,
        stop=stop,
        board=board,
        settings=settings,
        portal=Portal(
            settings.base_url, stop=stop, ca_bundle=settings.ca_bundle, timeout=settings.timeout
        ),
        rules=Rules(
            epn_cap_map=settings.epn_cap_map,
            source_path=settings.source_path,
            destination_root=settings.destination_root_path,
            destination_path=settings.destination_path,
        ),
        ignore=IgnoreUpdates(settings),
    )
