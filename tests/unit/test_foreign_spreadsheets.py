"""Spreadsheets that are too much for any memory: refused in words, and the others are read."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from asynchy.errors import SpreadsheetError
from asynchy.facility.epn_sources import read_list, read_spreadsheets
from asynchy.model.epn import Epn
from tests.unit.test_epn_sources import xlsx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import xlwt

SOON = 5.0
"""Seconds of processor time within which each is refused."""
LITTLE = 300_000_000

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_EMPTY = f'<sst xmlns="{_MAIN}"></sst>'.encode()
_SHEET = "xl/worksheets/sheet1.xml"


def package(
    path: Path, sheet: Iterable[bytes], strings: Iterable[bytes] = (_EMPTY,), sheets: int = 1
) -> Path:
    """A workbook whose parts are written as they come."""
    names = range(1, sheets + 1)
    relations = "".join(
        f'<Relationship Id="rId{at}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        for at in names
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/'
        'vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(f'<sheet name="S{at}" sheetId="{at}" r:id="rId{at}"/>' for at in names)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'{relations}<Relationship Id="rIdS" Type="{_OFFICE}/sharedStrings" '
        'Target="sharedStrings.xml"/></Relationships>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        for name, content in ((_SHEET, sheet), ("xl/sharedStrings.xml", strings)):
            with archive.open(name, "w") as stream:
                for chunk in content:
                    stream.write(chunk)
    return path


def sheet_of(*rows: bytes) -> Iterable[bytes]:
    yield f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode()
    yield from rows
    yield b"</sheetData></worksheet>"


def cell(place: str, value: bytes = b"1") -> bytes:
    row = place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return f'<row r="{row}"><c r="{place}"><v>'.encode() + value + b"</v></c></row>"


def unpacks_to_150_mb(path: Path) -> None:
    package(path, sheet_of(cell("A1"), *([b" " * 1_000_000] * 150)))


def says_that_it_is_small(path: Path) -> None:
    package(path, sheet_of(*[cell("A1", b"1" * 50) * 20_000] * 300))
    _lie(path)


def _lie(path: Path) -> None:
    """Let the archive say that its sheet unpacks to 1000 bytes."""
    content = bytearray(path.read_bytes())
    for signature, size_at, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        at = content.find(signature)
        while at >= 0:
            if content[at + name_at :].startswith(_SHEET.encode()):
                struct.pack_into("<I", content, at + size_at, 1000)
            at = content.find(signature, at + 4)
    path.write_bytes(content)


def has_a_far_cell(path: Path) -> None:
    package(path, sheet_of(cell("A1"), cell("XFD1048576")))


def has_a_cell_in_a_far_row(path: Path) -> None:
    package(path, sheet_of(cell("A1"), cell("ZZ1000000")))


def has_many_sheets_with_far_cells(path: Path) -> None:
    package(path, sheet_of(cell("A1"), cell("ZZ20000")), sheets=200)


def has_very_many_strings(path: Path) -> None:
    strings = b"<si><t>x</t></si>" * 100_000
    head = f'<sst xmlns="{_MAIN}">'.encode()
    package(path, sheet_of(cell("A1")), [head, *[strings] * 60, b"</sst>"])


def has_long_strings(path: Path) -> None:
    strings = b"<si><t>" + b"x" * 30_000_000 + b"</t></si>"
    row = b'<row r="%d"><c r="A%d" t="s"><v>0</v></c></row>'
    rows = [row % (at, at) for at in range(1, 100)]
    head = f'<sst xmlns="{_MAIN}">'.encode()
    package(path, sheet_of(*rows), [head, strings, b"</sst>"])


def is_an_old_one_with_a_far_cell(path: Path) -> None:
    book = xlwt.Workbook()
    for name in "ab":
        sheet = book.add_sheet(name)
        sheet.write(0, 0, "1a")
        sheet.write(65535, 255, "x")
    book.save(str(path))


def is_a_pipe(path: Path) -> None:
    os.mkfifo(path)


def is_a_folder(path: Path) -> None:
    path.mkdir()


def is_nothing(path: Path) -> None:
    path.touch()


BAD: list[tuple[Callable[[Path], None], str]] = [
    (unpacks_to_150_mb, "it unpacks to 150 MB; at most 105 MB are read"),
    (says_that_it_is_small, ""),
    (has_a_far_cell, "its cells are so far apart"),
    (has_a_cell_in_a_far_row, "its cells are so far apart"),
    (has_very_many_strings, "too large"),
    (has_long_strings, "too large"),
    (is_an_old_one_with_a_far_cell, "its cells are so far apart"),
    (is_a_pipe, "a named pipe"),
    (is_a_folder, "a folder"),
    (is_nothing, ""),
]


@pytest.mark.parametrize(("make", "why"), BAD)
def test_a_bad_spreadsheet_is_refused_soon_and_the_others_are_read(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    xlsx(tmp_path / "a.xlsx", "12282a")
    old = make is is_an_old_one_with_a_far_cell
    bad = tmp_path / ("bad.xls" if old else "bad.xlsx")
    make(bad)
    xlsx(tmp_path / "c.xlsx", "8020l")
    before, begun = _used(), time.monotonic()
    found = read_spreadsheets(tmp_path)
    used = _used() - before
    assert used < SOON, time.monotonic() - begun
    assert found.epns == {Epn("12282a"), Epn("8020l"), Epn("777b")}
    assert found.files == 2
    (error,) = found.refused
    assert f"{bad} cannot be read as a spreadsheet: " in error.message
    assert why in error.message
    assert error.hint


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def test_the_process_that_reads_a_spreadsheet_has_little_memory() -> None:
    code = (
        "import resource; from asynchy.facility import sheet_reader; sheet_reader.main([]); "
        "print(sheet_reader.MAX_MEMORY_BYTES); sheet_reader.main(['/dev/null/none']); "
        "print(resource.getrlimit(resource.RLIMIT_AS)[0])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    wanted, *_, limit = ended.stdout.split()
    assert int(limit) == int(wanted) < LITTLE


def test_many_sheets_that_fit_one_by_one_are_read_or_refused_soon(tmp_path: Path) -> None:
    has_many_sheets_with_far_cells(tmp_path / "a.xlsx")
    before = _used()
    with pytest.raises(SpreadsheetError, match=r"takes too long|too large"):
        read_spreadsheets(tmp_path)
    assert _used() - before < SOON


def test_nothing_of_a_file_is_taken_whose_second_sheet_is_bad(tmp_path: Path) -> None:
    book = tmp_path / "a.xlsx"
    xlsx(tmp_path / "good.xlsx", "8020l")
    rows = [b'<row r="%d"><c r="A%d"><v>%d</v></c></row>' % (n, n, 1000 + n) for n in range(1, 99)]
    package(book, sheet_of(*rows, cell("ZZ1000000")))
    found = read_spreadsheets(tmp_path)
    assert found.epns == {Epn("8020l"), Epn("777b")}
    assert [error.message for error in found.refused]


def test_if_no_spreadsheet_can_be_read_all_are_named(tmp_path: Path) -> None:
    for name in ("a.xlsx", "b.xls"):
        (tmp_path / name).write_bytes(b"no spreadsheet")
    with pytest.raises(SpreadsheetError, match=r"(?s)a\.xlsx cannot be read.*b\.xls cannot be"):
        read_spreadsheets(tmp_path)


def test_a_sheet_of_100000_rows_is_read(tmp_path: Path) -> None:
    row = b'<row r="%d"><c r="A%d"><v>%d</v></c><c r="G%d"><v>5</v></c></row>'
    rows = [row % (at, at, 10_000 + at, at) for at in range(1, 100_001)]
    package(tmp_path / "a.xlsx", sheet_of(*rows))
    found = read_spreadsheets(tmp_path)
    assert (len(found.epns), found.refused) == (100_000, [])


def test_very_many_rows_without_an_epn_are_counted(tmp_path: Path) -> None:
    rows = [b'<row r="%d"><c r="A%d"><v>0.5</v></c></row>' % (at, at) for at in range(1, 5002)]
    package(tmp_path / "a.xlsx", sheet_of(*rows))
    found = read_spreadsheets(tmp_path)
    assert (len(found.odd), found.more_odd) == (1000, 4001)


def test_a_list_that_is_a_device_or_a_pipe_or_too_long_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(100_000_000)
    for path, what in (
        (Path("/dev/zero"), "a device, not a file"),
        (tmp_path / "pipe", "a pipe that did not end"),
        (tmp_path / "long", "more than 4,000,000 bytes"),
    ):
        with pytest.raises(SpreadsheetError, match=what):
            read_list(path)
