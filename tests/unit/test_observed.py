"""What a cycle has seen at the facility, added to what was known, without writing and by writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Experiment, LocatedExperiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.observed import FolderSeen, observed
from tests.tools.catalogues import new_catalogue
from tests.tools.records import NOW, experiment_of, hours, record_of, wanted

pytestmark = pytest.mark.both_databases

FOLDER = "/data/mx"


def located(epn: str, folder: str = FOLDER, target: str | None = None) -> LocatedExperiment:
    return LocatedExperiment(experiment_of(epn.lower()), f"{folder}/{epn}", target)


def broken(epn: str) -> BrokenLink:
    return BrokenLink(f"{FOLDER}/{epn}", "/gone", "it leads to /gone", experiment_of(epn))


def seen(
    *found: LocatedExperiment, links: tuple[BrokenLink, ...] = (), other: str = ""
) -> FolderSeen:
    return FolderSeen(FOLDER, found, links, frozenset(map(Epn, other.split())))


def both(tmp_path: Path, *looks: FolderSeen) -> list[ExperimentRecord]:
    """What several cycles know that only look, and that write; they must not differ."""
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    plain: list[ExperimentRecord] = []
    for number, look in enumerate(looks):
        plain = observed(plain, [look], hours(number))
        catalogue.see(look, hours(number))
    assert catalogue.overview.records() == plain
    return plain


def test_what_is_visible_is_known_from_then_on(tmp_path: Path) -> None:
    first, second = both(tmp_path, seen(located("1b"), located("1A")))
    assert (first.experiment, first.source) == (experiment_of("1a"), "/data/mx/1A")
    assert (second.seen, second.visible, second.vanished) == (True, True, None)


def test_what_is_no_longer_in_its_folder_is_gone_since_the_first_look_without_it(
    tmp_path: Path,
) -> None:
    (gone,) = both(tmp_path, seen(located("1a")), seen(), seen())
    assert (gone.visible, gone.vanished) == (False, hours(1))


@pytest.mark.parametrize("looks", [[], [seen(located("1a"))], [seen(located("1a")), seen()]])
def test_what_was_released_is_changed_once_it_has_a_folder_that_it_had_not(
    tmp_path: Path, looks: list[FolderSeen]
) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    for number, look in enumerate(looks):
        catalogue.see(look, hours(number))
    catalogue.decisions.release(experiment_of("1a"), "no data", hours(5))
    before = catalogue.overview.records()
    found = observed(before, [seen(located("1a"))], hours(6))
    catalogue.see(seen(located("1a")), hours(6))
    assert catalogue.overview.records() == found
    was_there = len(looks) == 1
    assert found[0].changed == (None if was_there else hours(6))
    assert found[0].touched_since(hours(5)) is not was_there


@pytest.mark.parametrize("away", [seen(), seen(links=(broken("1a"),)), seen(located("1a"))])
def test_what_was_fetched_is_changed_once_its_folder_is_there_again(
    tmp_path: Path, away: FolderSeen
) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    catalogue.see(seen(located("1a")), hours(0))
    assert isinstance(catalogue.acquire_lease(wanted(experiment_of("1a"))), int)
    catalogue.see(away, hours(1))
    found = observed(catalogue.overview.records(), [seen(located("1a"))], hours(2))
    catalogue.see(seen(located("1a")), hours(2))
    assert catalogue.overview.records() == found
    assert found[0].changed == (None if away.located else hours(2))


def test_what_is_back_is_not_gone(tmp_path: Path) -> None:
    (back,) = both(tmp_path, seen(located("1a")), seen(), seen(located("1a")))
    assert (back.visible, back.vanished) == (True, None)


def test_a_link_that_leads_nowhere_is_a_problem_of_its_experiment_until_it_is_mended(
    tmp_path: Path,
) -> None:
    looks = [seen(located("1a")), seen(links=(broken("1a"),))]
    (item,) = both(tmp_path, *looks)
    assert item.problem == "/data/mx/1a: it leads to /gone"
    assert (item.link_target, item.vanished) == ("/gone", None)
    mended = seen(located("1a", target="/new"))
    (tmp_path / "again").mkdir()
    (item,) = both(tmp_path / "again", *looks, mended)
    assert (item.problem, item.link_target) == (None, "/new")


def test_what_has_become_a_file_is_not_gone(tmp_path: Path) -> None:
    (item,) = both(tmp_path, seen(located("1a")), seen(other="1a"))
    assert item.vanished is None


@pytest.mark.parametrize("source", ["/data/saxs/1a", "/data/mx/deep/1a", "/data/1a", ""])
def test_what_lies_in_another_folder_or_nobody_knows_where_is_not_gone(source: str) -> None:
    record = record_of(source=source)
    assert observed([record], [seen()], NOW) == [record]


def test_a_link_of_a_beamline_is_no_experiment() -> None:
    link = BrokenLink("/data/mx", "/gone", "it leads to /gone", None)
    assert observed([], [seen(links=(link,))], NOW) == []


def test_a_folder_that_was_not_listed_says_nothing() -> None:
    record = record_of(vanished=hours(-1), visible=False)
    assert observed([record], [], NOW) == [record]


def test_records_come_in_order_of_epn_and_keep_what_else_is_known() -> None:
    known = [record_of(epn="1b", files=7), record_of(epn="2a")]
    found = observed(known, [seen(located("2a"), located("1c"), located("1b"))], NOW)
    assert [one.epn.text for one in found] == ["1b", "1c", "2a"]
    assert found[0] == known[0] and found[2] == known[1]
    assert found[1] == replace(record_of(epn="1c"), beamtimes=())


def test_the_same_epn_in_another_beamlines_folder_is_another_experiment() -> None:
    saxs = record_of(experiment=Experiment("saxs", Epn("1a")))
    found = observed([saxs], [seen(located("1a"))], NOW)
    assert [one.experiment.beamline for one in found] == ["mx", "saxs"]
