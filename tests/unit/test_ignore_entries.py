"""Whose the entries of `ignore.yml` are, from one look at the file to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.catalogue import Catalogue
from asynchy.catalogue.ignore_entries import StoredIgnoreEntries
from asynchy.model.policy import IgnoreEntry, Origin
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def at(days: float) -> datetime:
    return NOW + timedelta(days=days)


@pytest.fixture
def entries(tmp_path: Path) -> StoredIgnoreEntries:
    return new_catalogue(tmp_path / "catalogue.db").ignore_entries


def cycle(entries: StoredIgnoreEntries, epns: set[str], day: float) -> dict[str, IgnoreEntry]:
    """What a cycle of that day reads in the file, and stores."""
    return entries.compare(dict.fromkeys(epns), at(day), store=True)


def test_what_is_there_at_first_is_the_originals_and_what_comes_later_a_persons(
    entries: StoredIgnoreEntries,
) -> None:
    assert cycle(entries, {"1a"}, 0) == {"1a": IgnoreEntry(Origin.ORIGINAL, at(0))}
    found = cycle(entries, {"1a", "2b"}, 1)
    assert found == {
        "1a": IgnoreEntry(Origin.ORIGINAL, at(0)),
        "2b": IgnoreEntry(Origin.PERSON, at(1)),
    }
    assert cycle(entries, {"1a", "2b"}, 2) == found


def test_a_file_that_was_empty_at_first_was_read_all_the_same(entries: StoredIgnoreEntries) -> None:
    assert cycle(entries, set(), 0) == {}
    assert cycle(entries, {"1a"}, 1)["1a"].origin is Origin.PERSON


def test_a_look_alone_stores_nothing(entries: StoredIgnoreEntries) -> None:
    for day in range(3):
        found = entries.compare({"1a": None}, at(day))
        assert found == {"1a": IgnoreEntry(Origin.ORIGINAL, at(day))}


def test_what_we_write_is_ours_though_the_file_is_read_later(entries: StoredIgnoreEntries) -> None:
    cycle(entries, set(), 0)
    entries.add({"1a": IgnoreEntry(Origin.OURS, at(0))})
    assert cycle(entries, {"1a"}, 1) == {"1a": IgnoreEntry(Origin.OURS, at(0))}
    entries.add({})
    assert cycle(entries, {"1a"}, 2)["1a"].origin is Origin.OURS


def test_an_entry_of_ours_that_is_taken_out_is_remembered_until_it_comes_back(
    entries: StoredIgnoreEntries,
) -> None:
    cycle(entries, set(), 0)
    entries.add({"1a": IgnoreEntry(Origin.OURS, at(0))})
    removed = cycle(entries, set(), 1)
    assert {epn: one.origin for epn, one in removed.items()} == {"1a": Origin.REMOVED}
    assert cycle(entries, set(), 2) == removed
    assert cycle(entries, {"1a"}, 3)["1a"] == IgnoreEntry(Origin.PERSON, at(3))


def test_an_entry_of_ours_that_was_taken_out_is_ours_again_once_we_write_it(
    entries: StoredIgnoreEntries,
) -> None:
    entries.add({"1a": IgnoreEntry(Origin.OURS, at(0))})
    cycle(entries, set(), 1)
    entries.add({"1a": IgnoreEntry(Origin.OURS, at(2))})
    assert cycle(entries, {"1a"}, 3) == {"1a": IgnoreEntry(Origin.OURS, at(2))}


@pytest.mark.parametrize("first", [True, False])
def test_an_entry_of_others_that_is_taken_out_is_forgotten(
    entries: StoredIgnoreEntries, first: bool
) -> None:
    if not first:
        cycle(entries, set(), 0)
    cycle(entries, {"1a"}, 1)
    assert cycle(entries, set(), 2) == {}
    assert cycle(entries, {"1a"}, 3)["1a"] == IgnoreEntry(Origin.PERSON, at(3))


def test_another_process_reads_what_was_stored(
    entries: StoredIgnoreEntries, tmp_path: Path
) -> None:
    stored = cycle(entries, {"1a"}, 0)
    other = Catalogue.open_readonly(tmp_path / "catalogue.db").ignore_entries
    assert other.compare({"1a": None}, at(9)) == stored


@pytest.mark.parametrize("first", ["mx", None])
def test_the_beamline_of_the_original_is_that_of_the_config_at_the_first_look(
    entries: StoredIgnoreEntries, first: str | None
) -> None:
    assert entries.original_beamline("xas") == "xas"
    for beamline in (first, "saxs"):
        entries.compare({"1a": None}, NOW, store=True, beamline=beamline)
        assert entries.original_beamline("saxs") == first


def test_an_entry_with_our_comment_that_the_catalogue_did_not_write_is_told(
    entries: StoredIgnoreEntries,
) -> None:
    assert entries.unwritten({"1a", "2b"}) == set()  # a new catalogue
    entries.add({"1a": IgnoreEntry(Origin.OURS, at(0))})
    cycle(entries, {"1a"}, 0)
    assert entries.unwritten({"1a", "2b"}) == {"2b"}
    cycle(entries, set(), 1)  # taken out, and put back
    assert entries.unwritten({"1a"}) == set()


def test_an_entry_of_a_person_that_has_our_comment_now_is_told(
    entries: StoredIgnoreEntries,
) -> None:
    cycle(entries, set(), 0)
    cycle(entries, {"1a"}, 1)
    assert entries.unwritten({"1a"}) == {"1a"}
