"""What a cycle of mxsync works with, made from the config.

It stands apart because the portal's client takes long to load, and few commands ask the portal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asynchy.config import Settings
from asynchy.config.ignore_file import IgnoreFile
from asynchy.domain.stop import Stop
from asynchy.facility.portal import Portal
from asynchy.service.board import Board
from asynchy.service.heard import Heard
from asynchy.service.site import Site, site_of


@dataclass(frozen=True, kw_only=True)
class CycleSite(Site):
    """What a cycle of mxsync works with besides: the portal, and whose data is whose."""

    settings: Settings
    portal: Portal
    ignore: IgnoreFile
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
        ignore=IgnoreFile(settings.ignore),
    )
