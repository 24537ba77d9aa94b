"""One cycle that writes: nothing is fetched while a part of our own state is lost."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from asynchy.config import Settings
from asynchy.domain.stop import Stop
from asynchy.errors import IgnoreListError
from asynchy.plan.outcome import Plan
from asynchy.service.board import Board
from asynchy.service.cycle_site import CycleSite, cycle_site_of
from asynchy.service.heard import Heard
from asynchy.service.lost_state import (
    StateFiles,
    begin,
    lost_error,
    read_state_files,
    warn_of_entries,
)
from asynchy.service.places_at_home import data_at_home
from asynchy.service.planning import make_plan
from asynchy.service.reports import destination_rules


def require_state(settings: Settings) -> None:
    """Refuse to start a service while `ignore.yml` or the catalogue is lost; nothing is made.

    An `ignore.yml` that cannot be understood is left to the cycles: somebody corrects it, and the
    service goes on.

    Raises:
        CatalogueError: the catalogue cannot be used.
        StateLost: one of the two is missing although it existed.
    """
    with contextlib.suppress(IgnoreListError):
        _raise_if_lost(settings, read_state_files(settings, write=True))


def prepare_cycle(
    settings: Settings,
    stop: Stop,
    board: Board,
    *,
    new_state: bool = False,
    heard: dict[int, Heard] | None = None,
) -> tuple[CycleSite, Plan]:
    """Make the plan of a cycle; with `new_state`, state that is lost is accepted as such.

    `heard`: what the portal told in an earlier try of this cycle.

    Raises:
        CatalogueError, IgnoreListError, Stopped, ToolMissing: as `make_plan`.
        StateLost: `ignore.yml`, the catalogue or both are missing although they existed.
    """
    files = read_state_files(settings, write=True)
    warn_of_entries(files)
    if not new_state:
        _raise_if_lost(settings, files)  # before a new catalogue is made
    site = cycle_site_of(settings, stop, board, write=True)
    if heard is not None:
        site = replace(site, heard=heard)
    plan = make_plan(site, files.entries)
    begin(files)
    return site, plan


def _raise_if_lost(settings: Settings, files: StateFiles) -> None:
    error = lost_error(files, data_at_home(destination_rules(settings)))
    if error is not None:
        raise error
