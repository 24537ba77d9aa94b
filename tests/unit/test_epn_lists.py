"""Spreadsheets of the original as-walker: seven columns by position, .xls and .xlsx."""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from asynchy.domain.epn import Epn
from asynchy.errors import SpreadsheetError
from asynchy.facility.epn_lists import read_spreadsheets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import xlwt

HEADERS = ["Whatever", "they", "are", "called", "in", "this", "file"]
START = datetime(2019, 7, 1, 8)
END = datetime(2019, 7, 2, 8)


def row(epn: object) -> list[object]:
    return [epn, START, END, "Crystals", "Ada", "Łovelace", "ada@uni.example"]


def xlsx(path: Path, *epns: object, headers: bool = True) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for values in [*([HEADERS] if headers else []), *map(row, epns)]:
        sheet.append(values)
    book.create_sheet("More").append(row("777b"))
    book.save(path)


def xls(path: Path, *epns: object) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Visits")
    for at, values in enumerate([HEADERS, *map(row, epns)]):
        for column, value in enumerate(values):
            sheet.write(at, column, value)
    book.save(str(path))


def test_both_kinds_and_all_sheets(tmp_path: Path) -> None:
    xlsx(tmp_path / "new.xlsx", "12282a", " 8020l ", 1234, headers=False)
    xls(tmp_path / "OLD.XLS", "19754a", 4321.0)
    (tmp_path / "~$new.xlsx").write_text("a lock file of Excel's")
    (tmp_path / "notes.txt").write_text("12a")
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn(e) for e in ("12282a", "8020l", "1234", "19754a", "4321", "777b")}
    assert (found.files, found.odd) == (2, [])


def test_a_row_without_an_epn_is_named(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a", "Dr Who", None, 12.5)
    found = read_spreadsheets(tmp_path)
    assert found.odd == ["a.xlsx, Sheet, row 3: Dr Who", "a.xlsx, Sheet, row 5: 12.5"]


@pytest.mark.parametrize("name", ["broken.xlsx", "broken.xls"])
def test_a_broken_spreadsheet_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no spreadsheet at all")
    with pytest.raises(SpreadsheetError, match=f"{name} cannot be read as a spreadsheet"):
        read_spreadsheets(tmp_path)


def test_a_folder_without_spreadsheets(tmp_path: Path) -> None:
    with pytest.raises(SpreadsheetError, match=r"has no \.xls or \.xlsx files"):
        read_spreadsheets(tmp_path)
    with pytest.raises(SpreadsheetError, match="No such file or directory"):
        read_spreadsheets(tmp_path / "nope")
