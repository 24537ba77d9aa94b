"""Rows for other programs: CSV and JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TextIO

import click

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="table for people, json and csv for programs.",
)


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


def iso(when: datetime | None) -> str | None:
    """A time as programs read it, to the second; None: there is none."""
    return None if when is None else when.isoformat(timespec="seconds")


def write_rows(form: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Rows on stdout, as `json` or `csv`."""
    (write_json if form == "json" else write_csv)(sys.stdout, columns, rows)
