"""Live bars on a terminal: what is transferred, how fast, how long it will still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.text import Text

from asynchy.domain.experiment import Copy
from asynchy.service.board import Board, Pace
from asynchy.service.reporter import Every, reporting


@contextmanager
def bars(board: Board) -> Iterator[None]:
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
        rows: list[tuple[Copy | None, Pace]] = [*board.running().items()]
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

    with bars, reporting([Every(0.25, draw)]):
        yield
