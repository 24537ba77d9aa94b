"""Live bars on a terminal: what is transferred, how fast, how long it will still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.text import Text

from asynchy.domain.experiment import Copy
from asynchy.domain.text import duration, size
from asynchy.service.board import Board, Running
from asynchy.service.reporter import Every, reporting


@contextmanager
def bars(board: Board) -> Iterator[None]:
    """Show the board's transfers on stderr while the context lasts, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[Copy, TaskID] = {}

    def draw() -> None:
        running = {item.copy: item for item in board.running()}
        for copy in tasks.keys() - running.keys():
            progress.remove_task(tasks.pop(copy))
        for copy, item in running.items():
            if copy not in tasks:
                tasks[copy] = progress.add_task(copy.epn.text, total=item.bytes, rate="")
            progress.update(tasks[copy], completed=item.done, total=item.bytes, rate=_rate(item))

    with progress, reporting([Every(0.25, draw)]):
        yield


def _rate(item: Running) -> Text:
    left = f", {duration(item.left)} left" if item.left is not None else ""
    return Text(f"{size(int(item.rate))}/s{left}")
