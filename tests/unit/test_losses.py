"""What the facility has lost of what a copy holds: counted in the catalogue, told in one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asynchy.catalogue.facility_losses import losses
from asynchy.catalogue.scans import ScanWriter
from asynchy.model.experiment import DataSize, LocatedExperiment
from asynchy.model.shrinking import NO_LOSSES, Losses, shrinking
from asynchy.model.verification import Damage, Level
from tests.unit.test_copy_files import Place

pytestmark = pytest.mark.both_databases

FIRST = {b"a": (1000, 10), b"b": (200, 20), b"c": (30, 30), b"d": (4, 40)}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A catalogue with a copy that holds four files."""
    made = Place(tmp_path)
    assert made.take(made.list(FIRST), Level.SIZE)
    return made


def test_a_listing_with_all_files_and_more_loses_nothing(place: Place) -> None:
    place.list({**FIRST, b"a": (1001, 11), b"e": (5, 50)})
    assert losses(place.held) == NO_LOSSES


def test_files_that_are_no_longer_listed_and_smaller_ones_are_counted_apart(place: Place) -> None:
    place.list({b"b": (150, 21), b"c": (30, 31), b"new": (5000, 50)})
    lost = losses(place.held)
    assert lost == Losses(DataSize(1004, 2), DataSize(50, 1), 0, (b"a", b"b", b"d"))
    assert losses(place.held, named=1).examples == (b"a",)


def test_what_is_damaged_at_home_too_is_counted(place: Place) -> None:
    rows = place.rows()
    place.held.mark([(rows[b"a"], Damage.MISSING), (rows[b"c"], Damage.CHANGED)])
    place.list({b"b": (200, 20), b"c": (30, 30)})
    lost = losses(place.held)
    assert (lost.gone, lost.damaged) == (DataSize(1004, 2), 1)


def test_an_empty_listing_loses_all_that_is_held(place: Place) -> None:
    found = place.list({})
    assert (found.files, losses(place.held).gone) == (0, DataSize(1234, 4))


def test_files_in_a_folder_that_could_not_be_listed_are_not_lost(place: Place) -> None:
    files = {
        path: (at, 10)
        for at, path in enumerate((b"a", b"a/x", b"a0", b"b/y/z", b"b/z", b"b", b"c"))
    }
    assert place.take(place.list(files), Level.SIZE)
    (before,) = place.catalogue.overview.records()
    found = place.list({b"b/z": (4, 10)}, unlisted=(b"a", b"b/y", b"a/deeper"))
    lost = losses(place.held, named=9)
    assert lost.examples == tuple(sorted({*files, b"d"} - {b"a/x", b"b/y/z", b"b/z"}))
    contents = place.catalogue.contents(place.copy, place.number, found.listing)
    assert [entry.path for entry in contents.files(-1)] == [b"b/z"]
    as_listed = replace(place.held, listing=found.listing)
    assert (as_listed.known(), place.held.known()) == (1, 3)
    assert as_listed.unproven().paths(9) == {b"b/z"}
    (known,) = place.catalogue.overview.records()
    assert known.files == 3
    assert known.listed is not None and known.listed == before.listed


def test_a_folder_that_a_walk_could_not_list_since_keeps_all_from_being_deletable(
    place: Place,
) -> None:
    place.complete()
    sighting = ScanWriter.begin(place.catalogue.address, "walk", "there")
    located = LocatedExperiment(place.copy.experiment, place.copy.source)
    ((identity, _),) = sighting.experiments([located])
    sighting.found(identity, [b"closed"])
    sighting.failed(identity, b"closed", "it may not be read")
    sighting.finish(identity)
    sighting.end()
    record = place.record()
    assert record.listed is not None
    overview = place.catalogue.overview
    assert overview.evidence(record, Level.SIZE).unlisted == 1
    later = replace(record, listed=datetime.now(UTC))
    assert overview.evidence(later, Level.SIZE).unlisted == 0


def test_once_the_smaller_file_is_held_only_those_that_are_gone_stay_lost(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 11), b"b": (200, 20), b"c": (30, 30)}), Level.SIZE)
    assert losses(place.held) == Losses(DataSize(4, 1), DataSize(0, 0), 0, (b"d",))


def test_each_copy_loses_what_it_holds_itself(place: Place) -> None:
    found = place.list({**FIRST, b"e": (5, 50)})
    number = place.catalogue.acquire_lease(
        replace(place.copy, destination=place.path.parent / "other")
    )
    assert isinstance(number, int) and found.listing is not None
    second = place.catalogue.copy_files(number)
    assert second.take(found.listing, (found.files, found.bytes), Level.SIZE)
    place.list(FIRST)
    assert losses(place.held) == NO_LOSSES
    assert losses(second).gone == DataSize(5, 1)


def test_a_listing_that_is_still_going_on_loses_nothing(place: Place) -> None:
    sighting = ScanWriter.begin(place.catalogue.address, "walk", "walk")
    located = LocatedExperiment(place.copy.experiment, place.copy.source)
    experiment, _ = sighting.experiment(located)
    sighting.add(experiment, [(b"a", 1000, 10, None)])
    sighting.flush()
    assert losses(place.held) == NO_LOSSES


def test_no_shrinking_where_nothing_is_lost_and_no_count_is_smaller() -> None:
    assert shrinking(DataSize(10, 2), DataSize(10, 2), NO_LOSSES) is None
    assert shrinking(DataSize(10, 2), DataSize(12, 3), NO_LOSSES) is None


@pytest.mark.parametrize("listed", [DataSize(12, 1), DataSize(9, 3)])
def test_fewer_files_or_fewer_bytes_than_held_are_told_by_their_counts(listed: DataSize) -> None:
    found = shrinking(DataSize(10, 2), listed, NO_LOSSES)
    assert found is not None
    files = "1 file, 12 B" if listed.files == 1 else "3 files, 9 B"
    assert found.summary == (
        f"the facility lists less than before; it lists {files}, "
        "the copy was complete with 2 files, 10 B"
    )


def test_new_files_do_not_hide_lost_ones_and_names_are_escaped() -> None:
    lost = Losses(DataSize(1000, 1), DataSize(50, 2), 0, (b"\x1b[31m", b"b"))
    found = shrinking(DataSize(1234, 4), DataSize(6000, 9), lost)
    assert found is not None
    assert found.summary == (
        "the facility no longer lists 1 file (1.00 kB) and lists 2 files smaller than before "
        "(by 50 B); \\x1b[31m, b, …; none of these is known to be missing or damaged at home; "
        "it lists 9 files, 6.00 kB, the copy was complete with 4 files, 1.23 kB"
    )


def test_what_is_lost_on_both_sides_is_said() -> None:
    found = shrinking(
        DataSize(9, 2), DataSize(1, 1), Losses(DataSize(8, 1), DataSize(0, 0), 1, (b"x",))
    )
    assert found is not None
    assert "x; of these, 1 file missing or damaged at home, too;" in found.summary
