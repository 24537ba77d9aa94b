"""Tables in plain text, as the original's templates get them."""

from __future__ import annotations

from collections.abc import Sequence

_HEADER_ROOM = 2
"""Columns are at least so much wider than their headers: what the original's table maker does."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a line of dashes under the headers, two blanks between columns."""
    widths = [
        max([len(header) + _HEADER_ROOM, *(len(row[at]) for row in rows)])
        for at, header in enumerate(headers)
    ]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def in_rows(words: Sequence[str], of: int) -> str:
    """Words in columns, so many to a row."""
    width = max((len(word) for word in words), default=0)
    rows = [words[at : at + of] for at in range(0, len(words), of)]
    return "\n".join(_line(row, [width] * len(row)) for row in rows)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
