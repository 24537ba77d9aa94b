"""Which EPNs a group knows of: the spreadsheets of as-walker, or a list.

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
class EpnList:
    """What a folder of spreadsheets, or a list, says."""

    epns: set[Epn] = field(default_factory=set)
    files: int = 0
    odd: list[str] = field(default_factory=list)
    """Rows that begin with no EPN: where, and what stands there."""


def read_spreadsheets(folder: Path) -> EpnList:
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
    sheets = EpnList(files=len(found))
    for path in found:
        _read(path, sheets)
    return sheets


def read_list(path: Path) -> EpnList:
    """The EPNs in a text file: one at the beginning of each line; `#` begins a comment.

    Raises:
        SpreadsheetError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SpreadsheetError(
            f"{path}: {reason}", hint="name a file of EPNs, one a line"
        ) from None
    found = EpnList(files=1)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if words:
            _take(f"{path.name}, line {number}", words[0], found)
    return found


def _is_spreadsheet(path: Path) -> bool:
    # Excel leaves `~$name.xlsx` beside a file that somebody has open.
    return path.suffix.lower() in _KINDS and not path.name.startswith("~$")


def _read(path: Path, sheets: EpnList) -> None:
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


def _take(place: str, cell: object, sheets: EpnList) -> None:
    # A cell that looks like a number is one to Excel.
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    epn = Epn.parse(text)
    if epn is not None:
        sheets.epns.add(epn)
    elif text and not place.endswith((", row 1", ", line 1")):  # headers
        sheets.odd.append(f"{place}: {text}")
