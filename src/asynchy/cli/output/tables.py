"""Tables and lists on the terminal; without a terminal, nothing is cut."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asynchy.model.formatting import printable
from asynchy.model.plan import SkipReason

_WIDE = 240
"""Columns where the output is no terminal: nothing is cut in a file or a pipe."""

_MANY = 500
"""Rows of a table from which on each is one line, however wide the terminal."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without its empty columns; a heading that begins with `>` is over numbers."""
    cells = [row if all(map(str.isprintable, row)) else tuple(map(printable, row)) for row in rows]
    shown_ones = [at for at in range(len(headings)) if any(row[at] for row in cells)]
    if len(cells) > _MANY:
        _long_table([headings[at] for at in shown_ones], cells, shown_ones)
        return
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in (headings[at] for at in shown_ones):
        justify = "right" if heading.startswith(">") else "left"
        made.add_column(heading.lstrip(">"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        made.add_row(*(Text(row[at]) for at in shown_ones))
    _console().print(made)


def _long_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], columns: Sequence[int]
) -> None:
    """Print a table of many rows, each on one line: to break lines takes a second a thousand."""
    filled = [
        _filled([heading.lstrip(">"), *(row[at] for row in cells)], right=heading.startswith(">"))
        for heading, at in zip(headings, columns, strict=True)
    ]
    first, *lines = ["   ".join(row).rstrip() for row in zip(*filled, strict=True)]
    rule = "─" * (sum(_columns(column[0]) for column in filled) + 3 * (len(filled) - 1))
    sys.stdout.write("\n".join([first, rule, *lines]) + "\n")


def _filled(texts: Sequence[str], *, right: bool) -> list[str]:
    """The texts of one column, filled up with blanks to the widest; `right`: on their left."""
    widths = list(map(_columns, texts))
    widest = max(widths)
    blanks = [" " * (widest - width) for width in widths]
    parts = zip(blanks, texts, strict=True) if right else zip(texts, blanks, strict=True)
    return ["".join(part) for part in parts]


def _columns(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def once_a_mount(
    rows: Iterable[tuple[SkipReason | None, str, Sequence[str]]],
) -> Iterator[Sequence[str]]:
    """Rows, but one alone for all that is left out because of one mount.

    `rows` are reasons, their details, and the cells, the EPN first.
    """
    first: dict[object, list[str]] = {}
    numbers: Counter[object] = Counter()
    for at, (left, detail, row) in enumerate(rows):
        key: object = (left, detail) if left is not None and left.is_mount else at
        first.setdefault(key, list(row))
        numbers[key] += 1
    for key, row in first.items():
        if numbers[key] > 1:
            row[0] = f"{row[0]} and {numbers[key] - 1:,} more"
        yield row


def bullets(heading: str, lines: Sequence[str]) -> None:
    """Print some lines under a heading, each escaped; nothing if there are none."""
    if lines:
        line("\n".join(["", heading, *(f"  {printable(line)}" for line in lines)]))


def line(text: str) -> None:
    """Print a line as it is."""
    _console().print(text)


def columns() -> int:
    """How wide the output is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, highlight=False, markup=False)
