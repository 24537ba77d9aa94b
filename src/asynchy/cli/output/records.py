"""Rows for other programs: CSV and JSON."""

from __future__ import annotations

import csv
import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO, TypeVar, cast

import click

from asynchy.cli.options import together

_Command = TypeVar("_Command", bound=Callable[..., Any])


def format_option(command: _Command) -> _Command:
    """The options that say for whom a table is: `--format`, and `--json` and `--csv` for short.

    The command gets one of them, as `form`: `table`, `json` or `csv`.
    """

    @functools.wraps(command)
    def with_form(
        *arguments: Any, form: str | None, as_json: bool, as_csv: bool, **options: Any
    ) -> Any:
        short = [name for name, given in (("json", as_json), ("csv", as_csv)) if given]
        asked = {*short, *([form] if form else [])}
        if len(asked) > 1:
            raise click.UsageError("--format, --json and --csv say the same: name one of them")
        return command(*arguments, form=next(iter(asked), "table"), **options)

    add = together(
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "json", "csv"]),
            help="table for people, json and csv for programs.  [default: table]",
        ),
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv."),
    )
    return cast("_Command", add(with_form))


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
