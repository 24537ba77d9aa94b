"""The spreadsheets of as-walker: which EPNs a group knows of.

Seven columns, by position and whatever the headers say: EPN, start, end, title, first name, last
name, email (docs/how-to/bring-history-home.md). Only the first one counts here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from python_calamine import CalamineError, load_workbook

from asynchy.domain.epn import Epn
from asynchy.errors import SpreadsheetError

_KINDS = frozenset({".xls", ".xlsx"})


@dataclass
class Sheets:
    """What a folder of spreadsheets says."""

    epns: set[Epn] = field(default_factory=set)
    files: int = 0
    odd: list[str] = field(default_factory=list)
    """Rows whose first cell is no EPN: file, sheet, row, what stands there."""


def read_spreadsheets(folder: Path) -> Sheets:
    """The EPNs in all spreadsheets of a folder, on all their sheets.

    Raises:
        SpreadsheetError: the folder or one of its spreadsheets cannot be read, or it has none.
    """
    try:
        found = sorted(path for path in folder.iterdir() if _is_spreadsheet(path))
    except OSError as error:
        raise SpreadsheetError(
            f"{folder}: {error.strerror}", hint="epns_path names a folder of spreadsheets"
        ) from None
    if not found:
        raise SpreadsheetError(
            f"{folder} has no .xls or .xlsx files", hint="epns_path names a folder of spreadsheets"
        )
    sheets = Sheets(files=len(found))
    for path in found:
        _read(path, sheets)
    return sheets


def _is_spreadsheet(path: Path) -> bool:
    # Excel leaves `~$name.xlsx` beside a file that somebody has open.
    return path.suffix.lower() in _KINDS and not path.name.startswith("~$")


def _read(path: Path, sheets: Sheets) -> None:
    try:
        with load_workbook(path) as book:
            for name in book.sheet_names:
                rows = book.get_sheet_by_name(name).iter_rows()
                for number, row in enumerate(rows, start=1):
                    _take(f"{path.name}, {name}, row {number}", row[0] if row else "", sheets)
    except (CalamineError, OSError) as error:
        raise SpreadsheetError(
            f"{path} cannot be read as a spreadsheet: {error}",
            hint="save it anew as .xlsx, or take it out of the folder",
        ) from None


def _take(place: str, cell: object, sheets: Sheets) -> None:
    # A cell that looks like a number is one to Excel.
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    epn = Epn.parse(text)
    if epn is not None:
        sheets.epns.add(epn)
    elif text and not place.endswith(", row 1"):  # headers
        sheets.odd.append(f"{place}: {text}")
