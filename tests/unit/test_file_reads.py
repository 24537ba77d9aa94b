"""A page of the files of a folder, read along the primary key, whatever the names are."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import experiments, files, held
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.verification import Level
from tests.tools.catalogues import new_catalogue
from tests.tools.dashboard import NOW

pytestmark = pytest.mark.both_databases

ONE = Experiment("mx", Epn("1a"))
PART = st.lists(st.sampled_from([b"a", b"b", b"-", b"0", b".", b"\xff"]), min_size=1, max_size=3)
PATHS = st.sets(
    st.lists(PART.map(b"".join), min_size=1, max_size=3).map(b"/".join), min_size=1, max_size=40
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, database_kind: str) -> CatalogueAddress:
    found = new_catalogue(tmp_path_factory.mktemp("catalogue") / "catalogue.db").address
    with Database.open(found).transaction() as db:
        db.execute(experiments.insert(), {
            "id": 1, "beamline": "mx", "epn": "1a", "proposal": "1", "source": "/data/mx/1a",
            "first_seen": NOW, "last_seen": NOW,
        })  # fmt: skip
    return found


def stored(path: CatalogueAddress, paths: set[bytes]) -> Catalogue:
    rows = [{"path": one, "size": 3, "modified": 5} for one in sorted(paths)]
    with Database.open(path).transaction() as db:
        db.execute(files.delete())
        db.execute(held.delete())
        db.execute(files.insert(), [{**row, "experiment_id": 1, "since": 1, "seen": 1}
                                    for row in rows])  # fmt: skip
        db.execute(held.insert(), [{**row, "copy_id": 7, "checked": 0, "level": Level.SIZE}
                                   for row in rows[::2]])  # fmt: skip
    return Catalogue.open_readonly(path)


def all_pages(catalogue: Catalogue, folder: bytes, number: int) -> list[tuple[bytes, bool]]:
    found: list[tuple[bytes, bool]] = []
    start = b""
    while True:
        page = catalogue.files.page(ONE, 7, folder, start, number)
        assert len(page.entries) <= number
        found += [(one.name, one.is_folder) for one in page.entries]
        if page.next is None:
            return found
        assert page.next > start
        start = page.next


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(PATHS, st.integers(1, 5))
def test_pages_have_each_file_and_folder_once(
    path: CatalogueAddress, paths: set[bytes], number: int
) -> None:
    # A path is a file or a folder, never both.
    paths = {one for one in paths if not any(other.startswith(one + b"/") for other in paths)}
    catalogue = stored(path, paths)
    for folder in {b"", *(one.rpartition(b"/")[0] + b"/" for one in paths if b"/" in one)}:
        inside = [one[len(folder) :] for one in paths if one.startswith(folder)]
        expected = {(one.partition(b"/")[0], b"/" in one) for one in inside}
        found = all_pages(catalogue, folder, number)
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_a_file_is_at_home_if_the_copy_has_it_as_the_facility_does(path: CatalogueAddress) -> None:
    catalogue = stored(path, {b"a", b"b", b"c"})
    with Database.open(path).transaction() as db:
        db.execute(held.update().where(held.c.path == b"c").values(size=4))
    page = catalogue.files.page(ONE, 7, b"", b"", 10)
    assert [(one.name, one.is_held) for one in page.entries] == [
        (b"a", True), (b"b", False), (b"c", False),
    ]  # fmt: skip
    assert not any(one.is_held for one in catalogue.files.page(ONE, None, b"", b"", 9).entries)
