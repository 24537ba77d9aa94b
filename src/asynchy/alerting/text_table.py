"""Tables in plain text, as the original's templates get them."""

from __future__ import annotations

from collections.abc import Sequence

_HEADER_PADDING = 2
"""Columns are at least so much wider than their headers: what the original's table maker does."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a line of dashes under the headers, two blanks between columns."""
    widths = [
        max([len(header) + _HEADER_PADDING, *(len(row[at]) for row in rows)])
        for at, header in enumerate(headers)
    ]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def in_rows(words: Sequence[str], of: int) -> str:
    """Words in columns between two lines of dashes, `of` words to a row; empty without words.

    As in the original, a multiple of `of` ends with an empty row, and a column of numbers is
    aligned to the right.
    """
    if not words:
        return ""
    rows = [list(words[at : at + of]) for at in range(0, len(words), of)]
    if len(words) % of == 0:
        rows.append([])
    columns = [[row[at] for row in rows if at < len(row)] for at in range(min(of, len(words)))]
    widths = [max(map(len, column)) for column in columns]
    numbers = [all(word.isdecimal() for word in column) for column in columns]
    padded = [
        [
            word.rjust(width) if number else word
            for word, width, number in zip(row, widths, numbers, strict=False)
        ]
        for row in rows
    ]
    dashes = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in [dashes, *padded, dashes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join(padded).rstrip()
