"""Print the first cell of each row of spreadsheets; run as a script, within limits of its own.

`python -I sheet_reader.py FILE…` prints a line of JSON for each cell, and one that ends each file:
`["cell", sheet, row, text]`, then `["end"]` or `["error", reason]`. It is a script that is run in a
process of its own, because the library keeps all cells between the first and the last one in
memory, and ends its process where there is none left. It needs nothing of asynchy.
"""

from __future__ import annotations

import json
import resource
import sys
import zipfile
from pathlib import Path

from python_calamine import load_workbook

MEMORY = 256 << 20
"""Bytes of address space; Python and the library take 50 MB of it."""
SECONDS = 4
"""Of processor time for a file: a sheet of a million rows takes two."""
_UNPACKED = 100 << 20
"""Bytes that the parts of a file may say they unpack to; a sheet of 10,000 rows has 5 MB."""
_LONGEST = 100
"""Characters of a cell that are told; an EPN has 20 at most."""


def main(files: list[str]) -> int:
    """Print what is in the files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for file in files:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            _check_unpacked(file)
            _print_cells(file)
        except MemoryError:
            return 1
        except BaseException as error:  # noqa: BLE001 - a panic of the library is none of Exception
            _print("error", str(error)[:500] or type(error).__name__)
        else:
            _print("end")
    return 0


def _check_unpacked(file: str) -> None:
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > _UNPACKED:
        raise ValueError(
            f"it unpacks to {unpacked / 1e6:,.0f} MB; at most {_UNPACKED / 1e6:,.0f} MB are read"
        )


def _print_cells(file: str) -> None:
    with load_workbook(Path(file)) as book:
        for name in book.sheet_names:
            for number, row in enumerate(book.get_sheet_by_name(name).iter_rows(), start=1):
                cell = row[0] if row else ""
                # A cell that looks like a number is one to Excel.
                whole = isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15
                text = str(int(cell)) if whole else str(cell).strip()  # type: ignore[arg-type]
                if text:
                    _print("cell", name[:_LONGEST], number, text[:_LONGEST])


def _print(*said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    if said[0] != "cell":
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
