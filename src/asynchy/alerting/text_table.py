"""Tables in plain text, as the original's templates get them."""

from __future__ import annotations

from collections.abc import Sequence

_HEADER_PADDING = 2
"""Columns are at least this much wider than their headers, as in the original's tables."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a line of dashes under the headers, two blanks between columns."""
    widths = [
        max([len(header) + _HEADER_PADDING, *(len(row[column]) for row in rows)])
        for column, header in enumerate(headers)
    ]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def in_rows(items: Sequence[str], per_row: int) -> str:
    """Items in columns between two lines of dashes, `per_row` to a row; empty without items.

    As in the original, a multiple of `per_row` ends with an empty row, and a column of numbers is
    aligned to the right.
    """
    if not items:
        return ""
    rows = [list(items[start : start + per_row]) for start in range(0, len(items), per_row)]
    if len(items) % per_row == 0:
        rows.append([])
    columns = [
        [row[number] for row in rows if number < len(row)]
        for number in range(min(per_row, len(items)))
    ]
    widths = [max(map(len, column)) for column in columns]
    numbers = [all(item.isdecimal() for item in column) for column in columns]
    padded = [
        [
            item.rjust(width) if number else item
            for item, width, number in zip(row, widths, numbers, strict=False)
        ]
        for row in rows
    ]
    dashes = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in [dashes, *padded, dashes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join(padded).rstrip()
