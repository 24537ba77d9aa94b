"""An experiment that is at another path at the facility is the one that is known, or named."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from asynchy.catalogue import Catalogue
from asynchy.catalogue.scans import ScanWriter
from asynchy.model.epn import Epn
from asynchy.model.event import EventKind
from asynchy.model.experiment import Experiment, LocatedExperiment
from asynchy.model.experiment_record import CALLED_OFF, ExperimentRecord
from asynchy.model.observed import FolderSeen, observed
from asynchy.model.plan import SkipReason
from asynchy.model.relocation import KnownFolder, OldPlace, recognised
from asynchy.model.visit import EquipmentVisits, Visit
from tests.tools.catalogues import new_catalogue
from tests.tools.records import NOW, experiment_of, hours, wanted

pytestmark = pytest.mark.both_databases

BARE, MX, MX2 = Experiment("", experiment_of().epn), experiment_of(), experiment_of("1a", "mx2")


def at(path: str, experiment: Experiment = MX) -> LocatedExperiment:
    return LocatedExperiment(experiment, path)


def seen(*found: LocatedExperiment) -> list[FolderSeen]:
    return [FolderSeen(one.source.rpartition("/")[0], (one,)) for one in found]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path / "catalogue.db")


def look(
    catalogue: Catalogue,
    *found: LocatedExperiment,
    there: Mapping[str, OldPlace] = MappingProxyType({}),
) -> list[ExperimentRecord]:
    """What is known after a look; a dry run and a live one must not differ.

    `there`: what is at the facility besides what was found.
    """
    asked: list[str] = []

    def at_old(paths: Mapping[str, str]) -> Mapping[str, OldPlace]:
        asked.extend(paths)
        return {path: there.get(path, OldPlace.GONE) for path in paths}

    located = recognised(
        found, catalogue.known_folders(), at_old, catalogue.overview.moved_visits()
    )
    folders = seen(*located)
    dry = observed(catalogue.overview.records(), folders, hours(1))
    for folder in folders:
        catalogue.see(folder, hours(1))
    live = catalogue.overview.records()
    assert list(map(without_sources, live)) == list(map(without_sources, dry))
    assert len(set(asked)) == len(asked)
    return live


def without_sources(record: ExperimentRecord) -> ExperimentRecord:
    """Without the paths of copies, which a dry run has as they were stored."""
    copies = (replace(one, copy=replace(one.copy, source="")) for one in record.copies)
    return replace(record, copies=tuple(copies))


def events(catalogue: Catalogue) -> list[tuple[EventKind, str]]:
    return [(one.kind, one.detail) for one in catalogue.decisions.events_of("1a")]


@pytest.mark.parametrize(
    ("before", "now", "beamline"),
    [
        (at("/data/mx/1a"), at("/data/2026/mx/1a"), "mx"),  # a new layout, with a year
        (at("/data/1a", BARE), at("/data/mx/1a"), "mx"),  # the layout that tells beamlines apart
        (at("/data/mx/1a"), at("/data/1a", BARE), "mx"),  # and the way back
        (at("/data/mx/1a"), at("/data/mx/1a", BARE), "mx"),  # a walk that begins in /data/mx
    ],
)
def test_what_is_at_a_new_path_and_gone_from_the_old_one_is_the_same_experiment(
    catalogue: Catalogue, before: LocatedExperiment, now: LocatedExperiment, beamline: str
) -> None:
    look(catalogue, before)
    number = catalogue.acquire_lease(replace(wanted(before.experiment), source=before.source))
    assert isinstance(number, int)
    catalogue.leases.release(number)
    for _ in range(2):  # the next cycle finds it as it is
        (one,) = look(catalogue, now)
        assert (one.experiment.beamline, one.source, one.vanished) == (beamline, now.source, None)
        assert one.problem is None
        assert [held.id for held in one.copies] == [number]  # with its history
    moved = [detail for kind, detail in events(catalogue) if kind is EventKind.MOVED]
    is_moved = before.source != now.source
    assert moved == ([f"from {before.source} to {now.source}"] if is_moved else [])


def test_what_is_at_both_paths_is_named_until_one_is_gone(catalogue: Catalogue) -> None:
    old, new = "/data/mx/1a", "/data/2026/mx/1a"
    look(catalogue, at(old))
    for _ in range(3):
        (one,) = look(catalogue, at(new), there={old: OldPlace.OTHER})
        assert one.problem == f"{SkipReason.SECOND_FOLDER.text}: {old}"
    (one,) = look(catalogue, at(new))
    assert (one.problem, one.source) == (None, new)


def test_two_that_may_be_one_stay_two_while_the_old_folder_is_there(catalogue: Catalogue) -> None:
    look(catalogue, at("/data/1a", BARE))
    found = look(catalogue, at("/data/mx/1a"), there={"/data/1a": OldPlace.OTHER})
    assert [one.experiment for one in found] == [BARE, MX]


def test_what_was_gone_before_it_is_found_at_a_new_path_is_compared(catalogue: Catalogue) -> None:
    look(catalogue, at("/data/mx/1a"))
    number = catalogue.acquire_lease(wanted(MX))
    assert isinstance(number, int)
    catalogue.see(FolderSeen("/data/mx", ()), hours(0))
    (one,) = look(catalogue, at("/data/2026/mx/1a"))
    assert (one.vanished, one.changed) == (None, hours(1))


def test_a_folder_of_one_of_two_beamlines_is_not_guessed(catalogue: Catalogue) -> None:
    look(catalogue, at("/data/mx/1a"), at("/data/mx2/1a", MX2))
    found = look(catalogue, at("/data/1a", BARE))
    assert [one.experiment for one in found] == [BARE, MX, MX2]


def test_a_walk_gives_an_experiment_its_new_name_and_keeps_its_number(catalogue: Catalogue) -> None:
    walk = ScanWriter.begin(catalogue.address, "walk", "here")
    (number, _) = walk.experiment(at("/data/1a", BARE))
    (known,) = recognised(
        [at("/data/mx/1a")], catalogue.known_folders(), lambda _: {"/data/1a": OldPlace.GONE}
    )
    assert walk.experiment(known)[0] == number
    assert [item.id for item in walk.unseen(())] == [number]
    kinds = [kind for kind, _ in events(catalogue)]
    assert kinds == [EventKind.RENAMED, EventKind.MOVED]


# A visit whose beamline the portal corrects


def told(catalogue: Catalogue, *answers: tuple[int, str, str]) -> None:
    """The portal tells of a visit (equipment, beamline, id), and of another one each time."""
    start = NOW - timedelta(days=2)
    said = []
    for equipment, beamline, number in answers:
        some = [Visit("9", experiment_of("2b").epn, start, start)]
        if number:
            some.append(Visit(number, MX.epn, start, NOW - timedelta(days=1)))
        since, until = NOW - timedelta(days=30), NOW
        said.append(EquipmentVisits(equipment, beamline, tuple(some), since=since, until=until))
    dry = catalogue.overview.records(["1a"], answers=said)
    catalogue.overview.keep_visits(said, NOW)
    live = catalogue.overview.records(["1a"])
    assert [one.beamtimes for one in live] == [one.beamtimes for one in dry]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_visit_that_is_told_on_another_beamline_stays_with_its_data(
    catalogue: Catalogue, at_once: bool
) -> None:
    told(catalogue, (23, "mx", "7"), (24, "mx2", ""))
    look(catalogue, at("/data/mx/1a"))
    if at_once:
        told(catalogue, (23, "mx", ""), (24, "mx2", "7"))
    else:
        told(catalogue, (23, "mx", ""))
        told(catalogue, (24, "mx2", "7"))
    (one,) = catalogue.overview.records(["1a"])
    assert one.experiment == MX
    assert [(item.visit.id, item.beamline) for item in one.beamtimes] == [("7", "mx2")]
    # Once a folder is seen on the new beamline, too, the visit is of that one.
    found = {
        item.experiment: item
        for item in look(catalogue, at("/data/mx/1a"), at("/data/mx2/1a", MX2))
    }
    assert found[MX].beamtimes == () and len(found[MX2].beamtimes) == 1


def test_another_visit_on_another_beamline_is_another_experiment(catalogue: Catalogue) -> None:
    told(catalogue, (23, "mx", "7"), (24, "mx2", ""))
    look(catalogue, at("/data/mx/1a"))
    told(catalogue, (23, "mx", ""), (24, "mx2", "8"))
    assert [one.experiment for one in catalogue.overview.records(["1a"])] == [MX, MX2]


def test_a_folder_that_follows_its_visit_to_another_beamline_is_the_same_experiment(
    catalogue: Catalogue,
) -> None:
    told(catalogue, (23, "mx", "7"), (24, "mx2", ""))
    look(catalogue, at("/data/mx/1a"))
    number = catalogue.acquire_lease(wanted(MX))
    assert isinstance(number, int)
    catalogue.leases.release(number)
    told(catalogue, (23, "mx", ""), (24, "mx2", "7"))
    (one,) = (one for one in look(catalogue, at("/data/mx2/1a", MX2)) if one.epn == MX.epn)
    assert (one.experiment, one.source) == (MX2, "/data/mx2/1a")
    assert [held.id for held in one.copies] == [number]
    assert [item.visit.id for item in one.beamtimes] == ["7"]


# What was found elsewhere is compared there


def completed(catalogue: Catalogue, experiment: Experiment, source: str) -> None:
    """A copy that is complete, of what was there."""
    copy = replace(wanted(experiment), source=source)
    number = catalogue.acquire_lease(copy)
    assert isinstance(number, int)
    catalogue.leases.release(number)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("old", "new"), [("mx", "mx2"), ("mx2", "mx")])
def test_an_experiment_on_another_beamline_is_compared_whatever_the_beamlines_are_called(
    catalogue: Catalogue, old: str, new: str, order: int
) -> None:
    told(catalogue, (23, old, "7"), (24, new, ""))
    look(catalogue, at(f"/data/{old}/1a", experiment_of("1a", old)))
    completed(catalogue, experiment_of("1a", old), f"/data/{old}/1a")
    told(catalogue, (23, old, ""), (24, new, "7"))
    there = [FolderSeen(f"/data/{old}", ())]
    (found,) = recognised(
        [at(f"/data/{new}/1a", experiment_of("1a", new))],
        catalogue.known_folders(),
        lambda paths: dict.fromkeys(paths, OldPlace.GONE),
        catalogue.overview.moved_visits(),
    )
    folders = [*there, *seen(found)][::order]
    dry = observed(catalogue.overview.records(["1a"]), folders, hours(1))
    for folder in folders:
        catalogue.see(folder, hours(1))
    for (one,) in (dry, catalogue.overview.records(["1a"])):
        assert (one.experiment.beamline, one.changed, one.vanished) == (new, hours(1), None)


@pytest.mark.parametrize(
    ("place", "changed"),
    [(OldPlace.GONE, hours(1)), (OldPlace.OTHER, hours(1)), (OldPlace.SAME, None)],
)
def test_an_experiment_at_a_new_path_is_compared_unless_a_link_leads_to_the_same_folder(
    catalogue: Catalogue, place: OldPlace, changed: datetime | None
) -> None:
    look(catalogue, at("/data/mx/1a"))
    completed(catalogue, MX, "/data/mx/1a")
    (one,) = look(catalogue, at("/data/2026/mx/1a"), there={"/data/mx/1a": place})
    assert one.changed == changed
    second = f"{SkipReason.SECOND_FOLDER.text}: /data/mx/1a"
    assert one.problem == (second if place is OldPlace.OTHER else None)
    moved = [kind for kind, _ in events(catalogue) if kind is EventKind.MOVED]
    assert bool(moved) is (changed is not None)


def test_what_a_person_released_stays_so_at_a_new_path(catalogue: Catalogue) -> None:
    look(catalogue, at("/data/mx/1a"))
    completed(catalogue, MX, "/data/mx/1a")
    catalogue.decisions.release(MX, "not ours", hours(0))
    (one,) = look(catalogue, at("/data/2026/mx/1a"))
    assert (one.changed, one.source) == (None, "/data/2026/mx/1a")


def test_a_walk_of_the_old_path_says_nothing_of_the_new_one(catalogue: Catalogue) -> None:
    walk = ScanWriter.begin(catalogue.address, "walk", "here")
    (number, _) = walk.experiment(at("/data/mx/1a"))
    walk.finish(number)
    walk.end()
    (one,) = catalogue.overview.records(["1a"])
    assert one.listed is not None
    (one,) = look(catalogue, at("/data/2026/mx/1a"))
    assert one.listed is None


# Which visits move an experiment


def tell(catalogue: Catalogue, *answers: tuple[int, str, tuple[str, ...]], until: int = 0) -> None:
    """The portal tells visits of one EPN (equipment, beamline, ids), of the days up to a time."""
    for equipment, beamline, numbers in answers:
        end = NOW - timedelta(days=until + 1)
        some = [Visit("9", experiment_of("2b").epn, end, end)]
        some += [Visit(number, MX.epn, end, end) for number in numbers]
        since, now = NOW - timedelta(days=until + 5), NOW - timedelta(days=until)
        answer = EquipmentVisits(equipment, beamline, tuple(some), since=since, until=now)
        dry = catalogue.overview.records(["1a"], answers=[answer])
        catalogue.overview.keep_visits([answer], NOW)
        live = catalogue.overview.records(["1a"])
        assert [one.beamtimes for one in live] == [one.beamtimes for one in dry]


def test_one_of_two_visits_that_is_corrected_moves_no_experiment(catalogue: Catalogue) -> None:
    tell(catalogue, (23, "mx", ("6", "7")), (24, "mx2", ()))
    look(catalogue, at("/data/mx/1a"))
    tell(catalogue, (23, "mx", ("6",)), (24, "mx2", ("7",)))
    assert catalogue.overview.moved_visits() == frozenset()
    found = [one.experiment for one in look(catalogue, at("/data/mx2/1a", MX2)) if one.source]
    assert found == [MX, MX2]


def test_what_was_only_looked_for_on_the_new_beamline_joins_the_experiment(
    catalogue: Catalogue,
) -> None:
    tell(catalogue, (23, "mx", ("7",)), (24, "mx2", ("7",)))
    look(catalogue, at("/data/mx/1a"))
    completed(catalogue, MX, "/data/mx/1a")
    looked_for = replace(wanted(MX2), source="", destination=Path("/home/mx2/1a"))
    number = catalogue.acquire_lease(looked_for)
    assert isinstance(number, int)
    catalogue.leases.release(number)
    tell(catalogue, (23, "mx", ()))
    (one,) = (one for one in look(catalogue, at("/data/mx2/1a", MX2)) if one.source)
    assert (one.experiment, len(one.copies)) == (MX2, 2)


def test_visits_follow_their_equipment_to_a_beamline_with_another_name(
    catalogue: Catalogue,
) -> None:
    tell(catalogue, (23, "mx", ("7",)), until=60)  # out of the range later
    look(catalogue, at("/data/mx/1a"))
    tell(catalogue, (23, "mx2", ()))
    assert ("1a", "mx", "mx2") in catalogue.overview.moved_visits()
    (one,) = (one for one in look(catalogue, at("/data/mx2/1a", MX2)) if one.source)
    assert (one.experiment, len(one.beamtimes)) == (MX2, 1)


def test_a_visit_that_comes_with_another_epn_is_called_off_for_the_first_however_old_it_was(
    catalogue: Catalogue,
) -> None:
    catalogue.see(*seen(at("/data/mx/1a", experiment_of("1a"))), hours(0))
    days = timedelta(days=1)
    for epn, ended in (("1a", NOW - 28 * days), ("2b", NOW - 2 * days)):
        visit = Visit("7", experiment_of(epn).epn, ended - days, ended)
        answer = EquipmentVisits(23, "mx", (visit,), since=ended - 3 * days, until=ended + days)
        catalogue.overview.keep_visits([answer], NOW)
    (record,) = catalogue.overview.records(["1a"])
    assert record.note is not None and record.note.reason == CALLED_OFF


def test_what_no_beamlines_folder_holds_is_known_as_called_off(catalogue: Catalogue) -> None:
    tell(catalogue, (23, "mx", ("7",)))
    catalogue.see(*seen(at("/data/1a", BARE)), hours(0))
    answer = EquipmentVisits(
        23,
        "mx",
        (Visit("9", experiment_of("2b").epn, NOW, NOW),),
        since=NOW - timedelta(days=5),
        until=NOW,
    )
    (dry,) = catalogue.overview.records(["1a"], answers=[answer])
    catalogue.overview.keep_visits([answer], NOW)
    (live,) = catalogue.overview.records(["1a"])
    assert dry.called_off and live.note is not None and live.note.reason == CALLED_OFF
    tell(catalogue, (23, "mx", ("8",)))
    (again,) = catalogue.overview.records(["1a"])
    assert again.note is None


def test_ten_thousand_new_experiments_are_recognised_at_once() -> None:
    found = [
        LocatedExperiment(Experiment("mx", Epn(f"{number}a")), f"/data/mx/{number}a")
        for number in range(10_000)
    ]
    known = {Experiment("", Epn("7a")): KnownFolder("/data/7a", gone=True)}
    began = time.process_time()
    located = recognised(found, known, lambda _: {})
    assert time.process_time() - began < 5  # compared each with each, it is a minute
    assert [one.formerly for one in located if one.formerly] == [Experiment("", Epn("7a"))]
