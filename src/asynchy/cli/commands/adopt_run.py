"""What `asynchy adopt` does; loaded when it is used."""

from __future__ import annotations

import contextlib

from asynchy.cli.options import absolute
from asynchy.cli.output.adoption import show_adoption
from asynchy.cli.output.progress import experiments_bar
from asynchy.config import Settings, Shared
from asynchy.errors import Stopped
from asynchy.model.cancellation import Stop
from asynchy.repatriation.adopt import adopt_below, adopt_for_projects
from asynchy.repatriation.adoption import AdoptionProgress, AdoptionResult
from asynchy.repatriation.catalogue_selection import SyncRequest
from asynchy.repatriation.lost_state import begin, lost_error, read_state_files
from asynchy.runtime.context import run_context
from asynchy.runtime.cycle_context import cycle_context
from asynchy.runtime.instance_lock import service_stopped
from asynchy.runtime.progress import ProgressBoard

_AT_A_TIME = 2
"""Experiments that are compared at a time if the config has no `max-tasks`."""


def run(  # noqa: PLR0913 - the options of the command
    settings: Shared,
    stop: Stop,
    epns: frozenset[str],
    dest: str | None,
    layout: str,
    *,
    dry_run: bool,
) -> int:
    """Compare, record and report; the exit code.

    Raises:
        AsynchyError: as `adopt_for_projects` and `adopt_below`.
    """
    progress = AdoptionProgress()
    try:
        if dest is not None:
            wish = SyncRequest(destination=absolute(dest), layout=layout, epns=epns)
            context = run_context(settings, stop, ProgressBoard(), write=not dry_run)
            at_a_time = settings.max_tasks if isinstance(settings, Settings) else _AT_A_TIME
            with experiments_bar(progress):
                result = adopt_below(context, wish, at_a_time, progress)
        else:
            assert isinstance(settings, Settings)  # the command has looked
            result = _for_projects(settings, stop, epns, progress, dry_run=dry_run)
    except Stopped:
        raise Stopped("stopped", hint="start it again: it goes on where it was") from None
    show_adoption(result, dry_run=dry_run)
    return result.exit_code


def _for_projects(
    settings: Settings,
    stop: Stop,
    epns: frozenset[str],
    progress: AdoptionProgress,
    *,
    dry_run: bool,
) -> AdoptionResult:
    files = read_state_files(settings, write=not dry_run)
    lost = lost_error(files) if files.lost() is not None else None
    if lost is not None:  # entries of ours would pass for the original program's
        raise lost
    alone = service_stopped(settings.catalogue_address)
    with contextlib.nullcontext() if dry_run else alone:
        context = cycle_context(settings, stop, ProgressBoard(), write=not dry_run)
        with experiments_bar(progress):
            result = adopt_for_projects(context, epns, progress)
        if files.must_compare and not (epns or dry_run):
            made = read_state_files(settings, write=True)
            begin(made, result.unreadable_folders, result.report.plan.unlisted)
    return result
