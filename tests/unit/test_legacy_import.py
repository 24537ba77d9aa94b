"""The originals' SQLite files, taken into the catalogue."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.catalogue import Catalogue
from asynchy.catalogue.legacy_import import ImportResult, LegacyTimes, import_file
from asynchy.errors import CatalogueError, ImportRefused
from tests.tools.catalogues import new_catalogue

MELBOURNE = ZoneInfo("Australia/Melbourne")
FILES = "CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified DATETIME)"
EPNS = (
    "CREATE TABLE epns (epn TEXT, size INTEGER, modified DATETIME,"
    " complete INTEGER DEFAULT 0, bytesTransferred INTEGER DEFAULT 0)"
)
Row = tuple[object, ...]


def original(path: Path, files: Sequence[Row] = (), epns: Sequence[Row] = ()) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        if files or not epns:
            db.execute(FILES)
            db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", files)
        if epns:
            db.execute(EPNS)
            db.executemany("INSERT INTO epns VALUES (?, ?, ?, ?, ?)", epns)
    return path


def take(catalogue: Path, *files: Path) -> list[ImportResult]:
    return [import_file(catalogue, file, timezone=MELBOURNE, root="/data") for file in files]


def rows(catalogue: Path, query: str) -> list[Row]:
    with closing(sqlite3.connect(catalogue)) as db:
        return db.execute(query).fetchall()


FACTS = (
    "SELECT beamline, epn, source, files, bytes, modified, completed_elsewhere, moved_elsewhere"
    " FROM experiments ORDER BY epn, beamline"
)
CONTENTS = (
    "SELECT e.epn, e.beamline, f.path, f.size, f.modified FROM files f"
    " JOIN experiments e ON e.id = f.experiment_id ORDER BY 1, 2, 3"
)


def test_both_layouts_of_paths_and_naive_times_in_their_zone(tmp_path: Path) -> None:
    file = original(
        tmp_path / "a.db",
        [
            ("12282a", "/data/mx/12282a/frames/a b.h5", 7, "2019-07-01 08:00:00.250000"),
            ("12282a", "/data/mx/12282a/.info", 3, "2019-01-01 08:00:00"),
            ("8020l", "/data/8020l/x", 5, "2019-07-01T08:00:00"),
        ],
    )
    before = hashlib.sha256(file.read_bytes()).digest()
    (taken,) = take(tmp_path / "c.db", file)
    assert (taken.files, taken.odd) == (3, 0)
    assert rows(tmp_path / "c.db", CONTENTS) == [
        ("12282a", "mx", b".info", 3, 1546290000),  # summer time
        ("12282a", "mx", b"frames/a b.h5", 7, 1561932000),
        ("8020l", "", b"x", 5, 1561932000),
    ]
    assert rows(tmp_path / "c.db", FACTS) == [
        ("mx", "12282a", "/data/mx/12282a", 2, 10, "2019-06-30 22:00:00.000000", 0, None),
        ("", "8020l", "/data/8020l", 1, 5, "2019-06-30 22:00:00.000000", 0, None),
    ]
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.db", "c.db"}


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    file = original(tmp_path / "a.db", [("1a", "/data/1a/x", 1, 5)], [("1a", 9, 5, 1, 4)])
    take(tmp_path / "c.db", file)
    before = rows(tmp_path / "c.db", FACTS + "") + rows(tmp_path / "c.db", CONTENTS)
    changed = rows(tmp_path / "c.db", "SELECT changed FROM experiments")
    take(tmp_path / "c.db", file)
    assert rows(tmp_path / "c.db", FACTS) + rows(tmp_path / "c.db", CONTENTS) == before
    assert rows(tmp_path / "c.db", "SELECT changed FROM experiments") == changed


def test_rows_that_make_no_sense_are_counted_and_named(tmp_path: Path) -> None:
    file = original(
        tmp_path / "a.db",
        [
            ("lost+found", "/data/lost+found/x", 1, 5),
            ("1a", "/data/2b/x", 1, 5),
            ("1a", "/data/1a/../x", 1, 5),
            ("1a", "/data/1a/big", -1, 5),
            ("1a", "/data/1a/late", 1, "yesterday"),
            ("1a", "/data/1a/good", 1, 5),
        ],
    )
    (taken,) = take(tmp_path / "c.db", file)
    assert (taken.files, taken.odd, len(taken.odd_rows)) == (1, 5, 5)
    assert "lost+found" in taken.odd_rows[0] and "not an EPN" in taken.odd_rows[0]


def test_a_damaged_one_is_left_out_whole(tmp_path: Path) -> None:
    many = [("1a", f"/data/1a/{at}", at, 5) for at in range(5000)]
    file = original(tmp_path / "a.db", many)
    with file.open("r+b") as stream:
        stream.seek(40_000)
        stream.write(b"\xff" * 8192)
    with pytest.raises(ImportRefused, match=r"a\.db"):
        take(tmp_path / "c.db", file)
    assert not (tmp_path / "c.db").exists()
    for content in (b"", b"no database", b"SQLite format 3\0" + b"\0" * 500):
        (tmp_path / "odd.db").write_bytes(content)
        with pytest.raises(ImportRefused, match=r"odd\.db"):
            take(tmp_path / "c.db", tmp_path / "odd.db")


def test_the_view_for_peoples_scripts(tmp_path: Path) -> None:
    file = original(tmp_path / "a.db", epns=[("1a", 9, "2019-07-01 08:00:00", 1, 4)])
    take(tmp_path / "c.db", file)
    ((epn, size, _, complete, moved),) = rows(tmp_path / "c.db", "SELECT * FROM epns")
    assert (epn, size, complete, moved) == ("1a", 9, 1, 4)


def test_an_original_named_as_the_catalogue_is_taken_over(tmp_path: Path) -> None:
    path = original(
        tmp_path / "files.db",
        [("1a", "/data/1a/x", 1, 5)],
        [("1a", 9, 5, 0, 4), ("2b", 3, 5, 1, 3)],
    )
    with pytest.raises(CatalogueError, match="database of the original"):
        Catalogue.open_readonly(path)
    known = {item.epn.text: item for item in Catalogue.open(path).overview.records()}
    said = {epn: (one.completed_elsewhere, one.elsewhere_since) for epn, one in known.items()}
    assert said["1a"] == (False, None)
    completed, since = said["2b"]
    assert completed and since is not None
    assert not known["2b"].touched_since(since)
    assert rows(path, "SELECT epn, complete FROM epns ORDER BY 1") == [("1a", 0), ("2b", 1)]
    assert rows(tmp_path / "files.db.original", "SELECT epn, complete FROM epns") == [
        ("1a", 0),
        ("2b", 1),
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"files.db", "files.db.original"}


file_rows = st.tuples(
    st.sampled_from(["1a", "2b"]), st.sampled_from(["", "/mx"]), st.sampled_from("xyz"),
    st.integers(0, 3), st.integers(0, 3),
).map(lambda r: (r[0], f"/data{r[1]}/{r[0]}/{r[2]}", r[3], r[4]))  # fmt: skip
epn_rows = st.tuples(
    st.sampled_from(["1a", "2b", "3c"]), st.integers(0, 9), st.integers(0, 9),
    st.integers(0, 1), st.integers(0, 9),
)  # fmt: skip


@settings(max_examples=10)
@given(st.lists(file_rows, max_size=12), st.lists(epn_rows, max_size=4), st.data())
def test_any_split_of_rows_over_files_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[Row],
    epns: list[Row],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    found = []
    for way in range(2):
        new_catalogue(folder / f"c{way}.db")
        everything = [*((0, row) for row in files), *((1, row) for row in epns)]
        parts = [data.draw(st.integers(0, 2)) for _ in everything]
        for number in data.draw(st.permutations(range(3))):
            mine = [item for item, part in zip(everything, parts, strict=True) if part == number]
            # `path` is unique in a file, so rows of one path go into files of their own.
            for at, group in enumerate(_without_repeats([row for k, row in mine if k == 0])):
                take(
                    folder / f"c{way}.db",
                    original(folder / f"{way}-{number}-{at}.db", group),
                )
            rest = [row for kind, row in mine if kind == 1]
            if rest:
                take(folder / f"c{way}.db", original(folder / f"{way}-{number}-e.db", epns=rest))
        found.append((rows(folder / f"c{way}.db", FACTS), rows(folder / f"c{way}.db", CONTENTS)))
    assert found[0] == found[1]


def _without_repeats(files: list[Row]) -> list[list[Row]]:
    groups: list[list[Row]] = []
    for row in files:
        for group in groups:
            if all(row[1] != other[1] for other in group):
                group.append(row)
                break
        else:
            groups.append([row])
    return groups


@given(st.datetimes(min_value=datetime(1971, 1, 1)))
def test_moments_are_those_of_the_zone(value: datetime) -> None:
    # A naive text does not say which of the two hours in autumn it means: the first counts.
    expected = int(value.replace(microsecond=0, tzinfo=MELBOURNE, fold=0).timestamp())
    moments = LegacyTimes(MELBOURNE)
    for text, _ in itertools.product((str(value), value.isoformat()), range(2)):
        assert moments.seconds(text.encode()) == expected
