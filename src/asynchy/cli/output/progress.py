"""Live bars on a terminal: what is transferred or compared, how fast, how long it still takes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)
from rich.text import Text

from asynchy.catalogue import Catalogue
from asynchy.model.experiment import Copy
from asynchy.runtime.periodic import PeriodicTask, log_transfers, reporting
from asynchy.runtime.progress import ProgressBoard, ProgressSnapshot
from asynchy.runtime.progress_recorder import ProgressRecorder

log = logging.getLogger(__name__)

_LINE_EVERY = 60.0  # seconds


@contextmanager
def transfers_shown(board: ProgressBoard, catalogue: Catalogue) -> Iterator[None]:
    """Bars on a terminal, a line a minute in the log, and figures for `asynchy status`."""
    recorder = ProgressRecorder(board, catalogue)
    with recorder.running(), bars(board), reporting([log_transfers(board), recorder.task()]):
        yield


class ExperimentProgress(Protocol):
    """How far something is that goes through experiments."""

    experiments: int
    """Those that are done."""
    total: int
    """Those that there are; 0: not known yet."""

    def found(self) -> str:
        """What was found so far, for people."""
        ...

    def line(self) -> str:
        """All of it in one line."""
        ...


@contextmanager
def experiments_bar(progress: ExperimentProgress) -> Iterator[None]:
    """Show how many experiments are done: a bar on a terminal, otherwise a line a minute."""
    if not sys.stderr.isatty():
        with reporting([PeriodicTask(_LINE_EVERY, lambda: log.info("%s", progress.line()))]):
            yield
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("experiments", total=None, found="looking what is there")

    def draw() -> None:
        if progress.total:
            bar.update(
                task, completed=progress.experiments, total=progress.total, found=progress.found()
            )

    with bar, reporting([PeriodicTask(0.25, draw)]):
        yield


@contextmanager
def bars(board: ProgressBoard) -> Iterator[None]:
    """Show the board's transfers on stderr while the context lasts, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[speed]}"),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[Copy | None, TaskID] = {}  # None: all of them together

    def draw() -> None:
        rows: list[tuple[Copy | None, ProgressSnapshot]] = [*board.running().items()]
        if rows:
            rows.append((None, board.overall()))
        now = dict(rows)
        for copy in tasks.keys() - now.keys():
            bars.remove_task(tasks.pop(copy))
        for copy, item in now.items():
            if copy not in tasks:
                tasks[copy] = bars.add_task("all", total=item.bytes, speed="")
            name = f"{copy.epn} {item.doing}".rstrip() if copy else "all"
            bars.update(
                tasks[copy],
                description=name,
                completed=item.done,
                total=item.bytes,
                speed=Text(item.speed),
            )

    with bars, reporting([PeriodicTask(0.25, draw)]):
        yield
