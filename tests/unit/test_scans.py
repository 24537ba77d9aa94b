"""What a walk finds against what was known; what it has done when it goes on."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.scan_results import Changes
from asynchy.catalogue.scans import ScanWriter
from asynchy.catalogue.schema import sightings
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Entry, EntryKind, Experiment, LocatedExperiment
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

HERE = LocatedExperiment(Experiment("mx", Epn("1a")), "/data/mx/1a")
THERE = LocatedExperiment(Experiment("", Epn("2b")), "/data/2b")
Tree = dict[bytes, tuple[int, int]]

TREES = st.dictionaries(
    st.sampled_from([b"a", b"b", b"c/d", b"c/e", b"\xff"]),
    st.tuples(st.integers(0, 3), st.integers(1, 3)),
)


def walked(
    catalogue: CatalogueAddress, tree: Tree, *, bad: bool = False, ends: bool = True
) -> Changes:
    sighting = ScanWriter.begin(catalogue, "walk", "there")
    ((identity, _),) = sighting.experiments([HERE])
    assert sighting.pending(identity) == [b"."]
    sighting.found(identity, [b"c"])
    sighting.add(identity, [(path, *known, 0o644) for path, known in tree.items()])
    sighting.listed(identity, b".")
    if bad:
        sighting.failed(identity, b"c", "it may not be read")
    else:
        sighting.listed(identity, b"c")
    changes = sighting.finish(identity)
    if ends:
        sighting.end()
    return changes


def stored(catalogue: CatalogueAddress) -> Tree:
    with Database.open_readonly(catalogue).looking() as db:
        rows = db.exec_driver_sql("SELECT path, size, modified FROM files").all()
        totals = db.exec_driver_sql("SELECT files, bytes FROM experiments").one()
    assert tuple(totals) == (len(rows), sum(size for _, size, _ in rows))
    return {path: (size, modified) for path, size, modified in rows}


@settings(max_examples=25)
@given(st.lists(TREES, min_size=1, max_size=4))
def test_each_walk_tells_what_is_new_changed_and_gone(trees: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalogue = new_catalogue(Path(folder) / "catalogue.db").address
        before: Tree = {}
        for tree in trees:
            changes = walked(catalogue, tree)
            assert changes == Changes(
                files=len(tree),
                bytes=sum(size for size, _ in tree.values()),
                new=len(tree.keys() - before.keys()),
                changed=sum(path in before and before[path] != tree[path] for path in tree),
                vanished=len(before.keys() - tree.keys()),
            )
            assert stored(catalogue) == tree
            before = tree


@settings(max_examples=15)
@given(TREES, TREES)
def test_where_a_folder_could_not_be_listed_nothing_is_gone(first: Tree, second: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalogue = new_catalogue(Path(folder) / "catalogue.db").address
        walked(catalogue, first)
        changes = walked(catalogue, second, bad=True)
        assert changes.vanished == 0
        assert stored(catalogue) == first | second


def test_a_walk_that_did_not_end_goes_on_for_a_week(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db").address
    first = ScanWriter.begin(catalogue, "walk", "there")
    ((identity, _),) = first.experiments([HERE])
    first.pending(identity)
    first.found(identity, [b"c", b"d"])
    first.listed(identity, b".")
    first.flush()
    again = ScanWriter.begin(catalogue, "walk", "there")
    assert (again.id, again.resumed) == (first.id, True)
    assert sorted(again.pending(identity)) == [b"c", b"d"]
    other = ScanWriter.begin(catalogue, "walk", "elsewhere")
    assert (other.id != first.id, other.resumed) == (True, False)
    with Database.open(catalogue).transaction() as db:
        db.execute(update(sightings).values(started=datetime.now(UTC) - timedelta(days=8)))
    late = ScanWriter.begin(catalogue, "walk", "there")
    assert (late.id != first.id, late.resumed) == (True, False)
    assert late.pending(identity) == [b"."]


def test_what_a_walk_does_not_find_is_gone_until_it_is_seen_again(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db").address
    sighting = ScanWriter.begin(catalogue, "walk", "there")
    (here, _), (there, _) = sighting.experiments([HERE, THERE])
    sighting.end()
    later = ScanWriter.begin(catalogue, "walk", "there")
    later.experiments([HERE])
    (unseen,) = later.unseen({here})
    assert (unseen.id, unseen.located, unseen.complete) == (there, THERE, False)
    later.gone([there])
    assert later.unseen({here}) == []
    (known,) = [
        item for item in Catalogue.open_readonly(catalogue).overview.records() if item.vanished
    ]
    assert (known.experiment, known.visible) == (THERE.experiment, False)
    later.experiments([THERE])
    records = Catalogue.open_readonly(catalogue).overview.records()
    assert [(item.vanished, item.visible) for item in records] == [(None, True)] * 2


def test_how_far_the_facility_is_is_known_from_the_latest_look_that_ended(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    path = catalogue.address
    assert catalogue.round_trip() is None
    ScanWriter.begin(path, "walk", "there").end(0.1)
    ScanWriter.begin(path, "import", "walk.db").end()
    assert catalogue.round_trip() == 0.1
    listing = ScanWriter.begin(path, "listing", "/data/mx/1a")
    assert catalogue.round_trip() is None  # perhaps nobody can log in any more
    listing.end(0.2)
    assert Catalogue.open_readonly(path).round_trip() == 0.2
    ScanWriter.begin(path, "listing", "/data/mx/1a").end()
    assert catalogue.round_trip() is None  # without SFTP


def test_a_walk_that_goes_on_later_counts_what_is_left_out_once(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db").address
    counts = "SELECT dot_files, symlinks, special_files FROM experiments"

    def counted() -> tuple[int | None, ...]:
        with Database.open_readonly(catalogue).looking() as db:
            return tuple(db.exec_driver_sql(counts).one())

    def walk(*kinds: EntryKind, ended: bool) -> None:
        sighting = ScanWriter.begin(catalogue, "walk", "there")
        ((identity, _),) = sighting.experiments([HERE])
        sighting.pending(identity)
        entries = [Entry(kind, b"%d" % at, 0, 1, 0o644) for at, kind in enumerate(kinds)]
        sighting.add_others(identity, entries)
        if not ended:
            sighting.flush()
            return
        sighting.listed(identity, b".")
        sighting.finish(identity)
        sighting.end()

    walk(EntryKind.DOT_FILE, EntryKind.SYMLINK, ended=False)
    assert counted() == (None, None, None)
    walk(EntryKind.DOT_FILE, EntryKind.SYMLINK, EntryKind.SPECIAL, ended=True)
    assert counted() == (1, 1, 1)
    walk(EntryKind.SYMLINK, ended=True)
    assert counted() == (0, 1, 0)

    part = ScanWriter.begin(catalogue, "listing", HERE.source)
    ((identity, _),) = part.experiments([HERE])
    part.add_others(identity, [Entry(EntryKind.DOT_FILE, b"0", 0, 1, 0o644)])
    part.finish(identity, unlisted=[b"closed"])
    assert counted() == (0, 1, 0)  # how much is in the closed folder is not known
