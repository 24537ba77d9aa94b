"""What the facility has lost of what a copy holds: counted in the catalogue, told in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.catalogue.losses import losses
from asynchy.catalogue.sightings import Sighting
from asynchy.domain.experiment import Amount, Located
from asynchy.domain.level import Damage, Level
from asynchy.plan.shrinking import NO_LOSSES, Losses, shrinking
from tests.unit.test_held import Place

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
    assert lost == Losses(Amount(1004, 2), Amount(50, 1), 0, (b"a", b"b", b"d"))
    assert losses(place.held, named=1).examples == (b"a",)


def test_what_is_damaged_at_home_too_is_counted(place: Place) -> None:
    rows = place.rows()
    place.held.mark([(rows[b"a"], Damage.MISSING), (rows[b"c"], Damage.CHANGED)])
    place.list({b"b": (200, 20), b"c": (30, 30)})
    lost = losses(place.held)
    assert (lost.gone, lost.damaged) == (Amount(1004, 2), 1)


def test_an_empty_listing_loses_all_that_is_held(place: Place) -> None:
    found = place.list({})
    assert (found.files, losses(place.held).gone) == (0, Amount(1234, 4))


def test_once_the_smaller_file_is_held_only_those_that_are_gone_stay_lost(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 11), b"b": (200, 20), b"c": (30, 30)}), Level.SIZE)
    assert losses(place.held) == Losses(Amount(4, 1), Amount(0, 0), 0, (b"d",))


def test_each_copy_loses_what_it_holds_itself(place: Place) -> None:
    found = place.list({**FIRST, b"e": (5, 50)})
    number = place.catalogue.claim(replace(place.copy, destination=place.path.parent / "other"))
    assert isinstance(number, int) and found.listing is not None
    second = place.catalogue.holdings(number)
    assert second.take(found.listing, (found.files, found.bytes), Level.SIZE)
    place.list(FIRST)
    assert losses(place.held) == NO_LOSSES
    assert losses(second).gone == Amount(5, 1)


def test_a_listing_that_is_still_going_on_loses_nothing(place: Place) -> None:
    sighting = Sighting.begin(place.path, "walk", "walk")
    located = Located(place.copy.experiment, place.copy.source)
    experiment, _ = sighting.experiment(located)
    sighting.add(experiment, [(b"a", 1000, 10, None)])
    sighting.flush()
    assert losses(place.held) == NO_LOSSES


def test_no_shrinking_where_nothing_is_lost_and_no_count_is_smaller() -> None:
    assert shrinking(Amount(10, 2), Amount(10, 2), NO_LOSSES) is None
    assert shrinking(Amount(10, 2), Amount(12, 3), NO_LOSSES) is None


@pytest.mark.parametrize("listed", [Amount(12, 1), Amount(9, 3)])
def test_fewer_files_or_fewer_bytes_than_held_are_told_by_their_counts(listed: Amount) -> None:
    found = shrinking(Amount(10, 2), listed, NO_LOSSES)
    assert found is not None
    files = "1 file, 12 B" if listed.files == 1 else "3 files, 9 B"
    assert found.summary == (
        f"the facility lists less than before; it lists {files}, "
        "the copy was complete with 2 files, 10 B"
    )


def test_new_files_do_not_hide_lost_ones_and_names_are_escaped() -> None:
    lost = Losses(Amount(1000, 1), Amount(50, 2), 0, (b"\x1b[31m", b"b"))
    found = shrinking(Amount(1234, 4), Amount(6000, 9), lost)
    assert found is not None
    assert found.summary == (
        "the facility no longer lists 1 file (1.00 kB) and lists 2 files smaller than before "
        "(by 50 B); \\x1b[31m, b, …; none of these is known to be missing or damaged at home; "
        "it lists 9 files, 6.00 kB, the copy was complete with 4 files, 1.23 kB"
    )


def test_what_is_lost_on_both_sides_is_said() -> None:
    found = shrinking(Amount(9, 2), Amount(1, 1), Losses(Amount(8, 1), Amount(0, 0), 1, (b"x",)))
    assert found is not None
    assert "x; of these, 1 file missing or damaged at home, too;" in found.summary
