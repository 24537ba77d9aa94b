"""Spreadsheets of the original as-walker: seven columns by position, .xls and .xlsx."""

from __future__ import annotations

import warnings
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from asynchy.errors import SpreadsheetError
from asynchy.facility.epn_sources import read_list, read_spreadsheets
from asynchy.model.epn import Epn

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
    assert found.odd == [
        "a.xlsx, Sheet, row 3: Dr Who",
        "a.xlsx, Sheet, row 4: the first cell is empty",
        "a.xlsx, Sheet, row 5: 12.5",
    ]


def test_a_mistake_in_the_first_row_is_no_header(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282 a", "20345b", headers=False)
    assert read_spreadsheets(tmp_path).odd == ["a.xlsx, Sheet, row 1: 12282 a"]


def test_a_spreadsheet_is_known_by_its_content(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    (tmp_path / "a.xlsx").rename(tmp_path / "a.xls")
    xlsx(tmp_path / "b.xlsx", "20345b")
    (tmp_path / "b.xlsx").rename(tmp_path / "b.xlsx.old")
    xls(tmp_path / "c.xls", "8020l")
    (tmp_path / "c.xls").rename(tmp_path / "c.xlsx")
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn(e) for e in ("12282a", "20345b", "8020l", "777b")}
    assert (found.files, found.refused) == (3, [])
    page = "<html><table><tr><td>1a</td></tr></table></html>"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "page.xls").write_text(page, encoding=encoding)
        (error,) = read_spreadsheets(tmp_path).refused
        assert "page.xls cannot be read as a spreadsheet: it is a web page" in error.message


def test_a_file_that_cannot_be_read_is_named_by_its_path_alone(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    odd = tmp_path / "odd\nname.xlsx"
    odd.symlink_to("/proc/self/mem")  # root may not read from its beginning
    (error,) = read_spreadsheets(tmp_path).refused
    assert error.message == (
        f"{tmp_path}/odd\\nname.xlsx cannot be read as a spreadsheet: Input/output error"
    )


def test_spreadsheet_with_macros_is_read(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsm", "12282a")
    found = read_spreadsheets(tmp_path)
    assert (found.epns, found.is_whole) == ({Epn("12282a"), Epn("777b")}, True)


@pytest.mark.parametrize("name", ["epns.csv", "EPNS.TSV"])
def test_text_table_beside_spreadsheets_is_named_and_not_read(tmp_path: Path, name: str) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    (tmp_path / name).write_text("20345b,2019-07-01\n")
    xlsx(tmp_path / "b.csv", "8020l")  # its content counts
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn("12282a"), Epn("8020l"), Epn("777b")}
    (error,) = found.refused
    assert error.message == (
        f"{tmp_path}/{name} cannot be read as a spreadsheet: it is a text file"
    )
    assert error.hint == "save it again as .xlsx, or take it out of the folder"
    assert not found.is_whole


def test_lists_that_are_no_spreadsheets_are_named_and_a_text_for_people_is_not(
    tmp_path: Path,
) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    (tmp_path / "README.txt").write_text("Put the spreadsheets here.\n")
    (tmp_path / "epns.txt").write_text("20345b\n")
    (tmp_path / "epns.numbers").write_bytes(b"PK")
    found = read_spreadsheets(tmp_path)
    assert [error.message.rpartition("/")[2] for error in found.refused] == [
        "epns.numbers cannot be read as a spreadsheet: it is of Apple Numbers",
        "epns.txt cannot be read as a spreadsheet: it is a text file",
    ]


def test_a_cell_of_epns_that_is_not_one_epn_may_hide_some(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a", "30000c;12282a", "\u200b8020l", "beam time 2025")
    found = read_spreadsheets(tmp_path)
    assert len(found.odd) == 3
    assert (found.unread, found.is_whole) == (2, False)


def test_what_other_programs_leave_beside_spreadsheets_is_skipped(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    for name in ("._a.xlsx", "~$a.xlsx", ".~lock.a.xlsx#"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(4000))
    found = read_spreadsheets(tmp_path)
    assert (found.files, found.refused) == (1, [])


def test_a_formula_without_a_value_is_named(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a", '=CONCATENATE("20345","b")', "8020l")
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn(e) for e in ("12282a", "8020l", "777b")}
    (formula,) = found.odd
    assert formula.startswith("a.xlsx, Sheet, row 3: a formula without a value; open the file")
    assert (found.unread, found.is_whole) == (1, False)


def test_a_cell_with_an_error_in_place_of_a_value_is_named(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a", "#N/A", "8020l")
    found = read_spreadsheets(tmp_path)
    assert {Epn("12282a"), Epn("8020l")} < found.epns
    (wrong,) = found.odd
    assert wrong.startswith("a.xlsx, Sheet, row 3: an error in place of a value")
    assert (found.unread, found.is_whole) == (1, False)


def test_a_row_without_an_epn_is_named_and_the_list_is_whole(tmp_path: Path) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a", "a note")
    found = read_spreadsheets(tmp_path)
    assert (len(found.odd), found.is_whole) == (1, True)


def test_a_bad_sheet_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    xlsx(tmp_path / "good.xlsx", "12282a")
    with (
        zipfile.ZipFile(tmp_path / "good.xlsx") as good,
        zipfile.ZipFile(tmp_path / "bad.xlsx", "w") as bad,
    ):
        for part in good.infolist():
            data = good.read(part)
            bad.writestr(part, data[:-200] if part.filename.endswith("sheet1.xml") else data)
    (tmp_path / "good.xlsx").unlink()
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn("777b")}
    (error,) = found.refused
    assert "bad.xlsx cannot be read as a spreadsheet: sheet Sheet: " in error.message


@pytest.mark.parametrize("name", ["broken.xlsx", "broken.xls"])
def test_a_broken_spreadsheet_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no spreadsheet at all")
    with pytest.raises(SpreadsheetError, match=f"{name} cannot be read as a spreadsheet"):
        read_spreadsheets(tmp_path)


def test_a_folder_without_spreadsheets(tmp_path: Path) -> None:
    with pytest.raises(SpreadsheetError, match="has no spreadsheets"):
        read_spreadsheets(tmp_path)
    with pytest.raises(SpreadsheetError, match="No such file or directory"):
        read_spreadsheets(tmp_path / "nope")


@pytest.mark.parametrize("name", ["epns", "epns.dat", "list.xls.bak"])
def test_an_old_spreadsheet_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    xls(tmp_path / "a.xls", "19754a")
    (tmp_path / "a.xls").rename(tmp_path / name)
    xlsx(tmp_path / "b.xlsx", "12282a")
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn("19754a"), Epn("12282a"), Epn("777b")}
    assert (found.files, found.refused) == (2, [])


def test_a_compound_file_without_sheets_is_no_spreadsheet(tmp_path: Path) -> None:
    xlsx(tmp_path / "b.xlsx", "12282a")
    ole = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000)
    (tmp_path / "Thumbs.db").write_bytes(ole)
    (tmp_path / "letter.doc").write_bytes(ole + "Workbook\0".encode("utf-16-le"))
    found = read_spreadsheets(tmp_path)
    assert (found.files, found.refused) == (1, [])


def test_a_spreadsheet_with_a_password_is_named_whatever_its_name_is(tmp_path: Path) -> None:
    xlsx(tmp_path / "b.xlsx", "12282a")
    ole = bytes.fromhex("D0CF11E0A1B11AE1") + bytes((1 << 20) - 10)  # the name is over two blocks
    (tmp_path / "secret").write_bytes(ole + "EncryptedPackage\0".encode("utf-16-le"))
    found = read_spreadsheets(tmp_path)
    (error,) = found.refused
    assert f"{tmp_path}/secret cannot be read as a spreadsheet" in error.message


@pytest.mark.parametrize(
    ("line", "epns", "unread"),
    [
        ("20345b,8020l", "20345b 8020l", 0), ("20345b 8020l", "20345b 8020l", 0),
        ("20345b; 8020l; 12a\tlate", "20345b 8020l 12a", 0), ('"12282a", \'12b\'', "12282a 12b", 0),
        ("12282a as 8020l before", "12282a", 1), ("12282a/8020l", "", 1), ("12282a # 8020l", "12282a", 0),
        ("12282a 12283x?", "12282a", 1), ("12282a l2283a", "12282a", 1), ("12282a 12283-a", "12282a", 1),
        ("12282a on 2014-05-01T10:00 at 10:00am, again", "12282a", 0),
    ],
)  # fmt: skip
def test_a_line_of_a_list_gives_all_its_epns_or_counts_as_unread(
    tmp_path: Path, line: str, epns: str, unread: int
) -> None:
    (tmp_path / "epns.txt").write_text(f"\n{line}\n")
    found = read_list(tmp_path / "epns.txt")
    assert sorted(epn.text for epn in found.epns) == sorted(epns.split())
    assert (found.unread, len(found.odd)) == (unread, unread)


def test_the_word_of_a_list_that_is_like_an_epn_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "epns.txt").write_text("20345b\n12282a 12283x? again\n")
    assert read_list(tmp_path / "epns.txt").odd == ["epns.txt, line 2: 12283x?"]
