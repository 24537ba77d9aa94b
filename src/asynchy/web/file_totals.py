"""The files of an experiment, added up by folder: at once if they are few, else in a process apart.

For 10^7 files it takes half a minute. Meanwhile a page shows what was found before, or that they
are being added up; the result is kept until something is done for the experiment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.file_reads import FolderTotals
from asynchy.config import load
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import escaped
from asynchy.web.background import WorkFailed, run_apart

log = logging.getLogger(__name__)

_FEW = 20_000
"""Files that are added up while a page waits: some 50 ms."""
_FOLDERS_SHOWN = 200
_DAMAGED_SHOWN = 50
_KEPT = 100
"""Experiments of which the result is kept."""
_AGAIN = 60.0
"""Seconds until it is tried again after it has failed."""


@dataclass(frozen=True)
class FileTotals:
    """What files there are, and what is wrong with those at home."""

    folders: tuple[FolderTotals, ...]
    """The largest."""
    more: int
    """Folders that are not among them."""
    damaged: tuple[tuple[str, str, datetime], ...]
    """Path, damage and time of check of the first files that are not as they were."""


def add_up(
    catalogue: Catalogue, experiment: Experiment, compared: int | None, copies: Sequence[int]
) -> FileTotals:
    """Add up all files; `compared` is the copy of which it is said what it has of them.

    `copies`: those in which it is looked for damage.

    Raises:
        CatalogueError: the catalogue cannot be read.
    """
    folders = catalogue.files.folders_of(experiment, compared)
    wrong = [
        (escaped(path), damage, at)
        for copy_id in copies
        for path, damage, at in catalogue.files.damaged_files(copy_id, _DAMAGED_SHOWN)
    ]
    shown = tuple(folders[:_FOLDERS_SHOWN])
    return FileTotals(shown, len(folders) - len(shown), tuple(wrong[:_DAMAGED_SHOWN]))


def add_up_apart(
    config: str, epn: str, beamline: str, compared: int | None, copies: Sequence[int]
) -> FileTotals:
    """`add_up`, as a process of its own does it."""
    catalogue = Catalogue.open_readonly(load(Path(config)).settings.catalogue_address)
    return add_up(catalogue, Experiment(beamline, Epn(epn)), compared, copies)


class FileCounter:
    """Remembers what was added up. Safe to use from several threads."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._known: OrderedDict[Experiment, tuple[Hashable, FileTotals]] = OrderedDict()
        self._wanted: dict[Experiment, float] = {}
        """Those that are being added up, or may not be tried again before some time."""

    def totals(
        self,
        catalogue: Catalogue,
        summary: ExperimentSummary,
        copies: Sequence[CopyRecord],
        done: Hashable,
    ) -> FileTotals | None:
        """What files an experiment has; None: they are being added up for the first time.

        `done` changes with all that is done for the experiment.

        Raises:
            CatalogueError: the catalogue cannot be read.
        """
        experiment = Experiment(summary.beamline, Epn(summary.epn))
        compared = next((one.id for one in copies if one.completed is not None), None)
        ids = [one.id for one in copies]
        if max(summary.files or 0, summary.home_files) <= _FEW:
            return add_up(catalogue, experiment, compared, ids)
        key = (summary.files, summary.bytes, compared, tuple(ids), done)
        with self._lock:
            known = self._known.get(experiment)
            if known is not None:
                self._known.move_to_end(experiment)
            is_current = known is not None and known[0] == key
            if not is_current and time.monotonic() > self._wanted.get(experiment, 0.0):
                self._wanted[experiment] = float("inf")
                arguments = (experiment, key, compared, ids)
                threading.Thread(target=self._count, args=arguments, daemon=True).start()
        return None if known is None else known[1]

    def _count(
        self, experiment: Experiment, key: Hashable, compared: int | None, copies: Sequence[int]
    ) -> None:
        try:
            with self._one_at_a_time:
                found: FileTotals = run_apart(
                    "files", str(self._config), experiment.epn.text, experiment.beamline,
                    compared, copies,
                )  # fmt: skip
        except WorkFailed as error:
            log.warning("%s: its files were not added up: %s", experiment.epn, error)
            with self._lock:
                self._wanted[experiment] = time.monotonic() + _AGAIN
            return
        with self._lock:
            self._wanted.pop(experiment, None)
            self._known[experiment] = (key, found)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
