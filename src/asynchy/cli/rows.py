"""Rows for other programs: CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO


def write_csv(stream: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """A header, and a line a row."""
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def write_json(
    stream: TextIO, _columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """An array with a row a line, so that it is never held as a whole."""
    before = "["
    for row in rows:
        stream.write(f"{before}\n{json.dumps(row, ensure_ascii=False)}")
        before = ","
    stream.write("\n]\n" if before == "," else "[]\n")
