"""Reads the EPNs of a group: from the spreadsheets of as-walker, or from a list.

Seven columns, by position and whatever the headers say: EPN, start, end, title, first name, last
name, email (docs/how-to/bring-history-home.md). Only the first one counts here.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import signal
import sys
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from asynchy.config.text_file import UnusableFile, read_text
from asynchy.errors import SpreadsheetError, Stopped
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.file_kind import other_kind
from asynchy.model.formatting import escaped
from asynchy.ssh.subprocess_runner import ProcessResult, run

_KINDS = frozenset({".xls", ".xlsx", ".xlsm", ".xlsb", ".ods"})
_TEXT_TABLES = frozenset({".csv", ".tsv"})
_LIST = ".txt"
_OF_OTHERS = {".numbers": "it is of Apple Numbers"}
"""Spreadsheets that the reader does not know, by the end of their names."""
"""Not read from a folder, since the meaning of their columns is not known. They are named."""
_SEPARATORS = re.compile(r"[,;'\"]")
_LIKE_EPN = re.compile(r"\d\W*[^\W\d]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d\d?:\d\d")
_MAX_TYPE_BYTES = 200
"""Bytes of the name of a document's type."""
_OLE = bytes.fromhex("D0CF11E0A1B11AE1")
"""How a compound file begins (MS-CFB 2.2): .xls, and documents of other programs."""
_OLE_STREAMS = tuple(
    f"{name}\0".encode("utf-16-le") for name in ("Workbook", "Book", "EncryptedPackage")
)
"""Directory entries of a compound file with sheets: MS-XLS 2.1.2, Excel 5, and a file with a
password, whose content is not known.
"""
_OTHER_DOCUMENTS = frozenset({".doc", ".docm", ".docx", ".dot", ".msg", ".pps", ".ppt", ".pptx"})
"""Compound files that may have a sheet in them, and are no spreadsheets."""
_BLOCK_BYTES = 1 << 20
_READER = Path(__file__).with_name("sheet_reader.py")
_IDLE_TIMEOUT = 60.0  # seconds
"""Seconds without a line from the reader: a file system that hangs."""
_MAX_ODD_ROWS = 1_000
"""Rows without an EPN that are kept; a sheet may have a million."""
_OUT_OF_MEMORY = (3, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL)
"""How the reader ends without memory: of itself, or by the library that it uses."""
_TOO_MUCH = (
    "it is too large, or its cells are so far apart that those between them need more than 200 MB"
)


@dataclass
class EpnList:
    """The EPNs in a folder of spreadsheets, or in a list."""

    epns: set[Epn] = field(default_factory=set)
    files: int = 0
    odd: list[str] = field(default_factory=list)
    """Rows that do not begin with an EPN: place and text; the first thousand."""
    more_odd: int = 0
    """How many more there are."""
    unread: int = 0
    """Rows among these that may have an EPN, which cannot be read."""
    refused: list[SpreadsheetError] = field(default_factory=list)
    """Files that cannot be read; none of their EPNs is in `epns`."""

    def merge(self, other: EpnList) -> None:
        """Add the EPNs of a file."""
        self.epns |= other.epns
        self.files += other.files
        room = _MAX_ODD_ROWS - len(self.odd)
        self.odd += other.odd[:room]
        self.more_odd += other.more_odd + len(other.odd[room:])
        self.unread += other.unread

    @property
    def is_whole(self) -> bool:
        """Whether all EPNs in it could be read."""
        return not (self.refused or self.unread)


def read_spreadsheets(folder: Path, stop: Stop | None = None) -> EpnList:
    """The EPNs in all spreadsheets of a folder, on all their sheets.

    A file or a sheet that cannot be read is refused as a whole; the others are read. A separate
    process with limits reads them: `sheet_reader.py`.

    Raises:
        SpreadsheetError: the folder cannot be read, or none of its spreadsheets; or it has none.
        Stopped: a stop was requested meanwhile.
    """
    try:
        candidates = sorted(path for path in folder.iterdir() if _may_be_spreadsheet(path))
    except OSError as error:
        hint = _hint(error.strerror, "epns_path names a folder of spreadsheets")
        raise SpreadsheetError(f"{folder}: {error.strerror}", hint=hint) from None
    if not candidates:
        raise SpreadsheetError(
            f"{folder} has no spreadsheets", hint="epns_path names a folder of spreadsheets"
        )
    sheets = EpnList()
    files = [path for path in candidates if _is_file(path, sheets)]
    while files:
        read = _Read(files)
        result = run(
            # Its own folder has modules with common names; the environment may name packages.
            [sys.executable, "-P", "-s", str(_READER), *map(str, files)],
            stop=stop or Stop(),
            on_stdout=read.line,
            on_stderr=lambda _: None,
            environment={"RUST_BACKTRACE": "0"},
            idle_timeout=_IDLE_TIMEOUT,
        )
        if result.stopped:
            raise Stopped("stopped", hint="start it again")
        finished = read.finished_files
        if finished < len(files):  # it ended at this one, maybe after some of its sheets
            read.end_file(_failure_reason(result))
            finished += 1
        sheets.merge(read.result)
        sheets.refused += read.refused
        files = files[finished:]
    if not sheets.files:
        first, *others = sheets.refused
        raise SpreadsheetError(
            "\n".join(error.message for error in [first, *others]), hint=first.hint
        )
    return sheets


def read_list(path: Path) -> EpnList:
    """The EPNs in a text file: those at the beginning of each line; `#` begins a comment.

    Commas, semicolons and blanks separate them, and quotes may be around them. The rest of a line
    is a remark, unless it has an EPN or a word like one, such as a mistyped one: then the line
    counts as unread.

    Raises:
        SpreadsheetError: it cannot be read.
    """
    try:
        text = read_text(path, pipe=True).removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError, UnusableFile) as error:
        reason = "it is not a text file" if isinstance(error, UnicodeDecodeError) else str(error)
        if isinstance(error, OSError):
            reason = error.strerror or reason
        hint = _hint(reason, "name a file of EPNs, one a line")
        raise SpreadsheetError(f"{path}: {reason}", hint=hint) from None
    epn_list = EpnList(files=1)
    for number, line in enumerate(text.splitlines(), start=1):
        fields = _SEPARATORS.sub(" ", line.partition("#")[0]).split()
        if fields:
            _add_line(f"{path.name}, line {number}", fields, epn_list)
    return epn_list


class _Read:
    """Collects the output of the reader, file by file; a sheet counts only as a whole."""

    def __init__(self, files: list[Path]) -> None:
        self.result = EpnList()
        self.refused: list[SpreadsheetError] = []
        self.finished_files = 0
        self._files = files
        self._file = EpnList()
        self._sheet = EpnList()
        self._bad_sheets = False

    def line(self, line: bytes) -> None:
        """Take a line of its output."""
        try:
            kind, *values = json.loads(line)
        except ValueError:  # a line that it was ended in
            return
        path = self._files[self.finished_files]
        if kind == "cell":
            sheet, number, text = values
            _add_cell(f"{path.name}, {sheet}, row {number}", text, self._sheet)
        elif kind in ("odd", "unread"):
            sheet, number, text = values
            self._sheet.unread += kind == "unread"
            if kind == "unread" or number > 1:
                _add_odd_row(f"{path.name}, {sheet}, row {number}: {text}", self._sheet)
        elif kind == "sheet":
            self._file.merge(self._sheet)
            self._file.files, self._sheet = 1, EpnList()
        elif kind == "bad":
            sheet, reason = map(str, values)
            self.refused.append(_refused(path, f"sheet {escaped(sheet)}: {escaped(reason)}"))
            self._bad_sheets, self._sheet = True, EpnList()
        else:
            self.end_file(escaped(str(values[0])) if kind == "error" else None)

    def end_file(self, error: str | None) -> None:
        """Take what was read of the file; an error is about the rest of it."""
        if error is not None:
            self.refused.append(_refused(self._files[self.finished_files], error))
        elif not self._bad_sheets:
            self._file.files = 1
        self.result.merge(self._file)
        self._file, self._sheet, self._bad_sheets = EpnList(), EpnList(), False
        self.finished_files += 1


def _may_be_spreadsheet(path: Path) -> bool:
    """By name, or by content whatever its name is; a file that cannot be read may be one."""
    # Excel leaves `~$name.xlsx` beside an open file, LibreOffice `.~lock.…`, macOS `._name.xlsx`.
    if path.name.startswith(("~$", ".")):
        return False
    end = path.suffix.lower()
    if end in _KINDS | _TEXT_TABLES | _OF_OTHERS.keys() or (end == _LIST and _has_epns(path)):
        return True
    return _has_sheets(path)


def _has_epns(path: Path) -> bool:
    """Whether a text file is a list of EPNs, and not something to be read by people."""
    try:
        return bool(read_list(path).epns)
    except SpreadsheetError:
        return False


def _has_sheets(path: Path) -> bool:
    try:
        return path.is_file() and (_is_packed_spreadsheet(path) or _is_ole_spreadsheet(path))
    except OSError:
        return True


def _is_packed_spreadsheet(path: Path) -> bool:
    with path.open("rb") as opened:
        try:
            if not zipfile.is_zipfile(opened):
                return False
            with zipfile.ZipFile(opened) as archive:
                names = set(archive.namelist())
                if "mimetype" in names and archive.getinfo("mimetype").file_size < _MAX_TYPE_BYTES:
                    return b"opendocument.spreadsheet" in archive.read("mimetype")
        except (ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return False
    return not names.isdisjoint({"xl/workbook.xml", "xl/workbook.bin"})


def _is_ole_spreadsheet(path: Path) -> bool:
    """Whether it is a compound file with a directory entry of sheets."""
    if path.suffix.lower() in _OTHER_DOCUMENTS:
        return False
    overlap = max(map(len, _OLE_STREAMS))
    with path.open("rb") as opened:
        if opened.read(len(_OLE)) != _OLE:
            return False
        previous = b""
        while block := opened.read(_BLOCK_BYTES):
            text = previous + block
            if any(name in text for name in _OLE_STREAMS):
                return True
            previous = text[-overlap:]
    return False


def _is_file(path: Path, sheets: EpnList) -> bool:
    """Whether the reader can open it without waiting; anything but a file is refused."""
    try:
        kind = other_kind(path.stat().st_mode)
        end = path.suffix.lower()
        if kind is None and end in {*_TEXT_TABLES, _LIST} and not _has_sheets(path):
            kind = "it is a text file"
        if kind is None and end in _OF_OTHERS:
            kind = _OF_OTHERS[end]
    except OSError as error:
        kind = error.strerror
    if kind is not None:
        sheets.refused.append(_refused(path, kind))
    return kind is None


def _refused(path: Path, reason: str) -> SpreadsheetError:
    return SpreadsheetError(
        f"{escaped(str(path))} cannot be read as a spreadsheet: {reason}",
        hint=_hint(reason, "save it again as .xlsx, or take it out of the folder"),
    )


def _hint(reason: str | None, otherwise: str) -> str:
    is_closed = reason == os.strerror(errno.EACCES)
    return "make it readable for the user that runs asynchy" if is_closed else otherwise


def _failure_reason(result: ProcessResult) -> str:
    if result.was_silent:
        return f"nothing came of it for {_IDLE_TIMEOUT:.0f} s"
    if result.code == -signal.SIGXCPU:
        return "reading it takes too long"
    if result.code in _OUT_OF_MEMORY:
        return _TOO_MUCH
    last_lines = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.code}"]
    return f"asynchy's reader of spreadsheets failed: {escaped(last_lines[0], limit=200)}"


def _add_line(place: str, fields: list[str], epn_list: EpnList) -> None:
    epns = list(itertools.takewhile(lambda epn: epn is not None, map(Epn.parse, fields)))
    epn_list.epns.update(epn for epn in epns if epn is not None)
    remark = fields[len(epns) :]
    text = " ".join(remark)
    odd = [word for word in remark if Epn.parse(word) or _is_like_epn(word)]
    if odd or (not epns and any(map(str.isdigit, text))):
        epn_list.unread += 1
        _add_odd_row(f"{place}: {' '.join(odd) if epns else text}", epn_list)
    elif not epns:
        _add_cell(place, text, epn_list)


def _is_like_epn(word: str) -> bool:
    """Whether digits and then a letter are in it, as in a mistyped EPN, and it is no time."""
    return _LIKE_EPN.search(word) is not None and _TIME.match(word) is None


def _add_cell(place: str, text: str, sheets: EpnList) -> None:
    epn = Epn.parse(text)
    if epn is not None:
        sheets.epns.add(epn)
    elif text and not _is_header(place, text):
        sheets.unread += _is_of_epns(text)
        _add_odd_row(f"{place}: {text}", sheets)


def _is_of_epns(text: str) -> bool:
    """Whether it is of EPNs alone: several, or one with a character that is not seen."""
    fields = re.findall(r"\w+", text)
    return bool(fields) and all(map(Epn.parse, fields))


def _is_header(place: str, text: str) -> bool:
    """Whether it is a column's title: without a digit, in the first row."""
    return place.endswith((", row 1", ", line 1")) and not any(map(str.isdigit, text))


def _add_odd_row(what: str, sheets: EpnList) -> None:
    if len(sheets.odd) < _MAX_ODD_ROWS:
        sheets.odd.append(what)
    else:
        sheets.more_odd += 1
