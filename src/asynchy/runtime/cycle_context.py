"""What a cycle of mxsync works with, made from the config.

It stands apart because the portal's client takes long to load, and few commands ask the portal.
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
    """What a cycle of mxsync works with besides: the portal, and whose data is whose."""

    settings: Settings
    portal: Portal
    ignore: IgnoreFile
    heard: dict[int, VisitWindow] = field(default_factory=dict)
    """By equipment: what the portal reported in an earlier try of this cycle."""


def cycle_context(
    settings: Settings, stop: Stop, board: ProgressBoard, *, write: bool
) -> CycleContext:
    """What a `config.yml` describes; without `write`, the catalogue is only looked at.

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
