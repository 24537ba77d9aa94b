"""Print the first cell of each row of spreadsheets; run as a script, within limits of its own.

`python -P sheet_reader.py FILE…` prints lines of JSON. For each first cell: `["cell", sheet, row,
text]`; if a row has none: `["odd", sheet, row, what]`, or `["unread", sheet, row, what]` if it may
have an EPN that was not saved in the file. At the end of each sheet: `["sheet"]` or
`["bad", sheet, reason]`; of each file: `["end"]` or `["error", reason]`. The kind of a file is
found by its content, not its name.

It is run in a process of its own, because the library keeps all cells between the first and the
last one in memory, and ends its process if there is none left. It needs nothing of asynchy.
"""

from __future__ import annotations

import codecs
import json
import re
import resource
import sys
import zipfile
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

MAX_MEMORY_BYTES = 256 << 20
"""Bytes of address space; Python and the library take 50 MB of it."""
OUT_OF_MEMORY = 3
"""The exit code."""
MAX_CPU_SECONDS = 4
"""Of processor time for a file: a sheet of a million rows takes two."""
_MAX_UNPACKED_BYTES = 100 << 20
"""Limit on the unpacked bytes that the parts of a file declare; a sheet of 10,000 rows has 5 MB."""
_MAX_CELL_LENGTH = 100  # characters
"""Characters of a cell that are printed; an EPN has 20 at most."""

_MAX_FORMULA_BYTES = 5000
"""Bytes of a cell with a formula, as it is written in the file."""
_FIRST_CELL = re.compile(
    rb'<c\s[^>]{0,200}?\br="A(\d{1,7})"[^>]{0,200}(?<!/)>(.{1,4000}?)</c>', re.S
)
_VALUE = re.compile(rb"<v>[^<]|<is>")
_IS_ERROR = re.compile(rb'\st="e"[\s>]')
_NO_VALUE = "a formula without a value; open the file in a spreadsheet program, and save it"
_ERROR = "an error in place of a value, such as #N/A; correct it, and save the file"


def main(files: list[str]) -> int:
    """Print what is in the files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for file in files:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + MAX_CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            _check_unpacked(file)
            _print_cells(file)
        except MemoryError:
            return OUT_OF_MEMORY
        except BaseException as error:  # noqa: BLE001 - a panic of the library is none of Exception
            _print("error", _reason(error))
        else:
            _print("end")
    return 0


def _check_unpacked(file: str) -> None:
    unpacked = Path(file).stat().st_size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > _MAX_UNPACKED_BYTES:
        raise ValueError(
            f"it unpacks to {unpacked / 1e6:,.0f} MB;"
            f" at most {_MAX_UNPACKED_BYTES / 1e6:,.0f} MB are read"
        )


def _print_cells(file: str) -> None:
    with Path(file).open("rb") as opened, _book(opened) as book:
        parts = _parts(file)
        for sheet in book.sheets_metadata:
            if sheet.typ is not SheetTypeEnum.WorkSheet:
                continue  # a chart, or macros
            try:
                part = parts.get(sheet.name)
                _print_sheet(book, sheet.name, _unread(file, part) if part else {})
            except MemoryError:
                raise
            except BaseException as error:  # noqa: BLE001 - a panic of the library, too
                _print("bad", sheet.name[:_MAX_CELL_LENGTH], _reason(error))
            else:
                _print("sheet")


def _book(opened: BinaryIO) -> CalamineWorkbook:
    try:
        return CalamineWorkbook.from_filelike(opened)
    except CalamineError as error:
        if "detect file format" not in str(error):
            raise
        opened.seek(0)
        begin = _text(opened.read(200)).lstrip()
    raise ValueError(
        "it is a web page" if begin.startswith("<") else "its content is that of no spreadsheet"
    )


def _text(data: bytes) -> str:
    """The beginning of a file as text, without a byte order mark."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_wide else "utf-8-sig", "replace")


def _print_sheet(book: CalamineWorkbook, name: str, unread: dict[int, str]) -> None:
    """The first cells of a sheet; `unread`: rows in which it has no value, and why."""
    for number, row in enumerate(book.get_sheet_by_name(name).iter_rows(), start=1):
        cell = row[0] if row else ""
        # A cell that looks like a number is one to Excel.
        is_integer = isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15
        text = str(int(cell)) if is_integer else str(cell).strip()  # type: ignore[arg-type]
        if text:
            _print("cell", name[:_MAX_CELL_LENGTH], number, text[:_MAX_CELL_LENGTH])
        elif number not in unread and any(str(value).strip() for value in row):
            _print("odd", name[:_MAX_CELL_LENGTH], number, "the first cell is empty")
    for number, reason in sorted(unread.items()):
        _print("unread", name[:_MAX_CELL_LENGTH], number, reason)


def _parts(file: str) -> dict[str, str]:
    """Sheet -> the part of an .xlsx file that holds it; nothing for other kinds."""
    try:
        with zipfile.ZipFile(file) as archive:
            book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - limits
            links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError):
        return {}
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    part_of_sheet = {}
    for sheet in book.iter():
        link = [value for key, value in sheet.attrib.items() if key.endswith("}id")]
        if sheet.tag.endswith("}sheet") and link:
            target = targets.get(link[0], "")
            part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            part_of_sheet[sheet.get("name", "")] = part
    return part_of_sheet


def _unread(file: str, part: str) -> dict[int, str]:
    """The rows whose first cell is a formula without the value that it had, or an error."""
    unread_rows: dict[int, str] = {}
    with zipfile.ZipFile(file) as archive, archive.open(part) as opened:
        previous = b""
        while block := opened.read(1 << 20):
            text = previous + block
            consumed = 0
            for match in _FIRST_CELL.finditer(text):
                consumed = match.end()
                if _IS_ERROR.search(match[0][: match.start(2) - match.start()]):
                    unread_rows[int(match[1])] = _ERROR
                elif b"<f" in match[2] and not _VALUE.search(match[2]):
                    unread_rows[int(match[1])] = _NO_VALUE
            previous = text[max(consumed, len(text) - _MAX_FORMULA_BYTES) :]
    return unread_rows


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:500] or type(error).__name__


def _print(*fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    if fields[0] not in ("cell", "odd", "unread"):
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
