"""One cycle that writes: nothing is fetched while a part of our own state is lost."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

from asynchy.config import Settings
from asynchy.errors import IgnoreListError
from asynchy.facility.portal.visit_window import VisitWindow
from asynchy.model.cancellation import Stop
from asynchy.model.plan import Plan
from asynchy.repatriation.cycle_planner import make_plan
from asynchy.repatriation.home_places import data_at_home
from asynchy.repatriation.lost_state import (
    StateFiles,
    another_ignore_file,
    begin,
    lost_error,
    read_state_files,
    warn_of_entries,
)
from asynchy.reporting.reports import destination_rules
from asynchy.runtime.cycle_context import CycleContext, cycle_context
from asynchy.runtime.progress import ProgressBoard

log = logging.getLogger(__name__)


def require_state(settings: Settings) -> None:
    """Refuse to start a service while `ignore.yml` or the catalogue is lost; nothing is made.

    An `ignore.yml` that cannot be parsed is left to the cycles: a person corrects it, and the
    service goes on.

    Raises:
        CatalogueError: the catalogue cannot be used.
        StateLost: one of the two is missing although it existed.
    """
    with contextlib.suppress(IgnoreListError):
        _raise_if_lost(settings, read_state_files(settings, write=True))


def read_state(settings: Settings, *, new_state: bool = False) -> StateFiles:
    """The state files of a cycle; an older catalogue is upgraded, a missing one is not made.

    With `new_state`, lost state is accepted.

    Raises:
        CatalogueError, IgnoreListError: one of the two cannot be used.
        StateLost: `ignore.yml`, the catalogue or both are missing although they existed.
    """
    files = read_state_files(settings, write=True)
    warn_of_entries(files)
    if not new_state:
        _raise_if_lost(settings, files)
    return files


def prepare_cycle(
    settings: Settings,
    stop: Stop,
    board: ProgressBoard,
    files: StateFiles,
    *,
    visit_windows: dict[int, VisitWindow] | None = None,
) -> tuple[CycleContext, Plan]:
    """Make the plan of a cycle.

    `visit_windows`: the portal's answers in an earlier try of this cycle.

    Raises:
        CatalogueError, IgnoreListError, Stopped, ToolMissing: as `make_plan`.
    """
    context = cycle_context(settings, stop, board, write=True)
    if visit_windows is not None:
        context = replace(context, visit_windows=visit_windows)
    plan = make_plan(context, files.entries)
    if (other := another_ignore_file(files)) is not None:
        log.warning("%s", other)
        plan = replace(plan, notices=(*plan.notices, other))
    begin(files)
    return context, plan


def _raise_if_lost(settings: Settings, files: StateFiles) -> None:
    error = lost_error(files, data_at_home(destination_rules(settings)))
    if error is not None:
        raise error
