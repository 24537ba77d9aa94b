"""SQLite files that are not what they are named: refused whole, soon, and in words."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from asynchy.catalogue import Catalogue
from asynchy.catalogue.legacy_import import ImportResult, import_file
from asynchy.errors import CatalogueError, ImportRefused

FILES = "CREATE TABLE files (epn, path UNIQUE, size, modified)"
GOOD = ("1a", "/data/mx/1a/good", 1, "2019-07-01 08:00:00")
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
SOON = 5.0
"""Seconds of processor time within which each is refused."""


def made(path: Path, *statements: str, rows: Sequence[tuple[object, ...]] = ()) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)
        if rows:
            db.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", rows)
    return path


def take(folder: Path, file: Path) -> ImportResult:
    return import_file(folder / "c.db", file, timezone=ZoneInfo("UTC"), root="/data")


def refused(folder: Path, file: Path) -> str:
    begun = time.process_time()
    with pytest.raises(ImportRefused) as caught:
        take(folder, file)
    assert time.process_time() - begun < SOON
    assert caught.value.hint
    assert not (folder / "c.db").exists()
    return caught.value.message


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (f"CREATE VIEW files AS {ENDLESS} SELECT '1a' AS epn, '/data/1a/f' || i AS path, "
         "i AS size, i AS modified FROM n", "files is a view"),
        (f"CREATE VIEW files AS {ENDLESS} SELECT '1a' AS epn, '/data/1a/f' AS path, 1 AS size, "
         "1 AS modified FROM n WHERE i < 0", "files is a view"),
        (f"CREATE VIEW Epns AS {ENDLESS} SELECT '1a' AS epn, i AS size, i AS modified FROM n",
         "epns is a view"),
        ("CREATE VIRTUAL TABLE files USING fts5(epn, path, size, modified)",
         "files is a virtual table"),
        ("CREATE TABLE files (epn, path, modified, size AS (length(zeroblob(1000000000))))",
         "files is a table with a generated column (size)"),
        ("CREATE TABLE files (epn, path, modified, size, "
         "more AS (length(zeroblob(900000000))) STORED)",
         "files is a table with a generated column (more)"),
    ],
)  # fmt: skip
def test_anything_but_an_ordinary_table_is_refused(
    tmp_path: Path, statement: str, what: str
) -> None:
    assert what in refused(tmp_path, made(tmp_path / "a.db", statement))


def test_a_view_beside_a_good_table_refuses_the_whole_file(tmp_path: Path) -> None:
    view = f"CREATE VIEW epns AS {ENDLESS} SELECT '1a' AS epn, i AS size, i AS modified FROM n"
    assert "epns is a view" in refused(tmp_path, made(tmp_path / "a.db", FILES, view, rows=[GOOD]))


def test_an_expensive_check_constraint_is_not_run(tmp_path: Path) -> None:
    table = "CREATE TABLE files (epn, path, size, modified, CHECK (0 {}))"
    file = made(tmp_path / "a.db", table.format("= 0"), rows=[GOOD] * 50)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema=ON")
        costly = table.format("< length(randomblob(500000000))")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'files'", (costly,))
    begun = time.process_time()
    assert take(tmp_path, file).files == 50
    assert time.process_time() - begun < SOON


def test_triggers_and_foreign_views_beside_the_tables_do_nothing(tmp_path: Path) -> None:
    file = made(
        tmp_path / "a.db",
        FILES,
        f"CREATE VIEW other AS {ENDLESS} SELECT i FROM n",
        "CREATE TRIGGER more AFTER INSERT ON files BEGIN SELECT count(*) FROM other; END",
    )
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TRIGGER more")
        db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", GOOD)
        db.execute("CREATE TRIGGER more AFTER INSERT ON files BEGIN SELECT * FROM other; END")
    assert take(tmp_path, file).files == 1


@pytest.mark.parametrize(
    ("path", "size", "modified", "what"),
    [
        ("ok", 1, 1e300, "modified, in seconds, is not within the years 1 to 9999: 1e+300"),
        ("ok", 1, float("inf"), "is not within the years 1 to 9999: inf"),
        ("ok", 1, 10**15, "is not within the years 1 to 9999"),
        ("ok", 1, -(2**63), "is not within the years 1 to 9999"),
        ("ok", 2**63 - 1, 5, "size is more than 1 PiB: 9223372036854775807"),
        ("ok", 2.0**63, 5, "size is more than 1 PiB"),
        ("ok", str(2**63), 5, "size is more than 1 PiB"),
        ("ok", 1e300, 5, "size is more than 1 PiB"),
        ("ok", -(2**63), 5, "size is more than 1 PiB"),
        ("n\0ul", 1, 5, "path has a NUL character in it: /data/mx/1a/n\\x00ul"),
    ],
)
def test_a_value_that_no_file_can_have_refuses_the_whole_file(
    tmp_path: Path, path: str, size: object, modified: object, what: str
) -> None:
    rows = [GOOD, *(("1a", f"/data/mx/1a/{n}", 1, 5) for n in range(20_000))]
    bad = ("1a", f"/data/mx/1a/{path}", size, modified)
    assert what in refused(tmp_path, made(tmp_path / "a.db", FILES, rows=[*rows, bad]))


@pytest.mark.parametrize(
    ("encoding", "as_blob"), [("UTF-8", False), ("UTF-8", True), ("UTF-16le", False)]
)
def test_a_nul_is_found_in_text_and_in_blobs(tmp_path: Path, encoding: str, as_blob: bool) -> None:
    for name, path in (("bad", "/data/mx/1a/n\0ul"), ("good", "/data/mx/1a/nul")):
        value = path.encode() if as_blob else path
        file = made(
            tmp_path / f"{name}.db", f"PRAGMA encoding='{encoding}'", FILES,
            rows=[("1a", value, 1, 5)],
        )  # fmt: skip
        if name == "bad":
            assert "NUL" in refused(tmp_path, file)
        else:
            assert take(tmp_path, file).files == 1


def test_sizes_that_add_up_to_too_much_refuse_the_file(tmp_path: Path) -> None:
    rows = [("1a", f"/data/1a/{n}", 2**50, 5) for n in range(65)]
    assert "size adds up to" in refused(tmp_path, made(tmp_path / "a.db", FILES, rows=rows))


@pytest.mark.parametrize(
    ("size", "modified", "moved", "what"),
    [
        (1, 10**13, 0, "modified, in seconds, is not within"),
        (2**63 - 1, None, 0, "size is more than 1 PiB"),
        (1, 5, 2**63 - 1, "bytesTransferred is more than 1 PiB"),
    ],
)
def test_epns_with_impossible_values_are_refused(
    tmp_path: Path, size: object, modified: object, moved: object, what: str
) -> None:
    file = made(
        tmp_path / "a.db",
        FILES,
        "CREATE TABLE epns (epn, size, modified, complete, bytesTransferred)",
        rows=[GOOD],
    )
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("INSERT INTO epns VALUES ('1a', ?, ?, 1, ?)", (size, modified, moved))
    assert what in refused(tmp_path, file)


def test_a_value_of_a_megabyte_refuses_the_file(tmp_path: Path) -> None:
    bad = ("1a", "/data/mx/1a/" + "x" * 10**6, 1, 5)
    what = refused(tmp_path, made(tmp_path / "a.db", FILES, rows=[GOOD, bad]))
    assert "a value of more than 65,536 bytes" in what


def test_what_is_not_a_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "empty.db").touch()
    for name, what in (
        ("pipe.db", "is a named pipe"),
        ("folder.db", "is a folder"),
        ("empty.db", "is empty"),
        ("nothing.db", "is not there"),
    ):
        assert what in refused(tmp_path, tmp_path / name)
    assert "is a device" in refused(tmp_path, Path("/dev/zero"))


def test_a_pipe_in_the_place_of_a_journal_is_not_opened(tmp_path: Path) -> None:
    file = made(tmp_path / "a.db", FILES, rows=[GOOD])
    os.mkfifo(tmp_path / "a.db-journal")
    assert "a.db-journal is a named pipe" in refused(tmp_path, file)


_STOPPED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA cache_size=1")
db.executemany("INSERT INTO files VALUES ('1a', '/data/mx/1a/' || ?, 1, 5)", [(n,) for n in range(9999)])
os._exit(0)
"""


def test_a_database_whose_program_was_ended_in_the_middle_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    file = made(tmp_path / "a.db", FILES, rows=[GOOD])
    subprocess.run([sys.executable, "-c", _STOPPED, file], check=True)
    assert (tmp_path / "a.db-journal").stat().st_size
    assert "a program was ended while it wrote to it" in refused(tmp_path, file)


def test_a_database_in_wal_mode_is_taken_with_what_is_in_its_wal(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(FILES)
        db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", GOOD)
        db.commit()
        assert take(tmp_path, file).files == 1


def test_pages_in_a_circle_are_refused_soon(tmp_path: Path) -> None:
    rows = [("1a", f"/data/mx/1a/{n:0200}", 1, 5) for n in range(50_000)]
    file = made(tmp_path / "a.db", FILES.replace(" UNIQUE", ""), rows=rows)
    with closing(sqlite3.connect(file)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as stream:
        stream.seek((root - 1) * size)
        page = bytearray(stream.read(size))
        assert page[0] == 5  # an interior page of a table
        for at in range(int.from_bytes(page[3:5], "big")):
            cell = int.from_bytes(page[12 + 2 * at : 14 + 2 * at], "big")
            page[cell : cell + 4] = root.to_bytes(4, "big")
        stream.seek((root - 1) * size)
        stream.write(page)
    assert "malformed" in refused(tmp_path, file)


def test_a_view_named_as_the_catalogue_is_refused_and_no_copy_is_left(tmp_path: Path) -> None:
    file = made(
        tmp_path / "files.db",
        f"CREATE VIEW files AS {ENDLESS} SELECT '1a' AS epn, '/data/1a/f' || i AS path, "
        "i AS size, i AS modified FROM n",
    )
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(CatalogueError, match="files is a view"):
            Catalogue.open(file)
    assert {path.name for path in tmp_path.iterdir()} == {"files.db"}
    assert file.read_bytes() == before


def test_an_impossible_original_named_as_the_catalogue_leaves_no_copies(tmp_path: Path) -> None:
    file = made(tmp_path / "files.db", FILES, rows=[GOOD, ("1a", "/data/1a/x", 1, 1e300)])
    for _ in range(2):
        with pytest.raises(CatalogueError, match="is not within the years 1 to 9999"):
            Catalogue.open(file)
    assert {path.name for path in tmp_path.iterdir()} == {"files.db"}


@pytest.mark.extra
def test_a_schema_with_very_many_tables_is_refused_soon_with_little_memory(tmp_path: Path) -> None:
    file = made(tmp_path / "a.db", FILES, rows=[GOOD])
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("BEGIN")
        db.execute(
            f"{ENDLESS} INSERT INTO sqlite_master SELECT 'view', 'v' || i, 'v' || i, 0, "
            "'CREATE VIEW v' || i || ' AS SELECT 1' FROM (SELECT i FROM n LIMIT 300000)"
        )
        db.execute("COMMIT")
    code = (
        "import resource, sys; from pathlib import Path; from zoneinfo import ZoneInfo\n"
        "from asynchy.catalogue.legacy_import import import_file\n"
        "try: import_file(Path(sys.argv[1]), Path(sys.argv[2]), timezone=ZoneInfo('UTC'),"
        " root='/data')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "status = Path('/proc/self/status').read_text()\n"
        # ru_maxrss would be that of whoever started it, too.
        "print(used.ru_utime + used.ru_stime, int(status.split('VmHWM:')[1].split()[0]) / 1024)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c.db"), str(file)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    said, needed = ended.stdout.splitlines()
    seconds, megabytes = map(float, needed.split())
    assert "takes too long" in said
    assert seconds < SOON
    assert megabytes < 300


@pytest.mark.parametrize("opened", [Catalogue.open, Catalogue.open_readonly])
def test_a_database_of_another_program_named_as_the_catalogue_stays_as_it_is(
    tmp_path: Path, opened: Callable[[Path], Catalogue]
) -> None:
    for statement in ("CREATE TABLE places (url)", "CREATE VIEW experiments AS SELECT 1"):
        file = made(tmp_path / "other.db", statement)
        before = file.read_bytes()
        with pytest.raises(CatalogueError, match="is a database of another program") as caught:
            opened(file)
        assert caught.value.hint
        assert file.read_bytes() == before
        file.unlink()


@pytest.mark.parametrize("opened", [Catalogue.open, Catalogue.open_readonly])
def test_what_is_not_a_file_named_as_the_catalogue_is_named(
    tmp_path: Path, opened: Callable[[Path], Catalogue]
) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "folder.db").mkdir()
    for name, what in (("pipe.db", "a named pipe"), ("folder.db", "a folder")):
        with pytest.raises(CatalogueError, match=f"is {what}, not a file"):
            opened(tmp_path / name)
