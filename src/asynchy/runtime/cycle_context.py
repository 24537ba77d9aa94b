"""The context of a cycle of mxsync, made from the config.

It is a module of its own because the portal's client takes long to load, and few commands need it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asynchy.config import Settings
from asynchy.config.ignore_file import IgnoreFile
from asynchy.facility.portal import Portal
from asynchy.facility.portal.visit_window import VisitWindow
from asynchy.model.cancellation import Stop
from asynchy.runtime.context import RunContext, run_context
from asynchy.runtime.progress import ProgressBoard


@dataclass(frozen=True, kw_only=True)
class CycleContext(RunContext):
    """A run context with the portal, `ignore.yml` and the config of mxsync."""

    settings: Settings
    portal: Portal
    ignore: IgnoreFile
    visit_windows: dict[int, VisitWindow] = field(default_factory=dict)
    """By equipment: the portal's answers in an earlier try of this cycle."""


def cycle_context(
    settings: Settings, stop: Stop, board: ProgressBoard, *, write: bool
) -> CycleContext:
    """The context for a `config.yml`; without `write`, the catalogue is only read.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ConfigError: `ca-bundle` or the proxy of the environment cannot be used.
    """
    context = run_context(settings, stop, board, write=write)
    return CycleContext(
        session=context.session,
        transfer_options=context.transfer_options,
        worker_pool=context.worker_pool,
        catalogue=context.catalogue,
        stop=stop,
        board=board,
        settings=settings,
        portal=Portal(
            settings.base_url, stop=stop, ca_bundle=settings.ca_bundle, timeout=settings.timeout
        ),
        ignore=IgnoreFile(settings.ignore),
    )
