"""What a cycle completed gets into `ignore.yml` once, and what it left undone is noted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.config.ignore_file import IgnoreFile
from asynchy.errors import ExitCode, IgnoreListError
from asynchy.model.experiment import ListingDiff
from asynchy.model.experiment_record import DueNote, ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, experiment_state
from asynchy.model.ignore_rules import epns_to_add
from asynchy.model.plan import DueReason, Plan, PlannedTransfer, Skipped, SkipReason
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.repatriation.cycle import run_cycle
from asynchy.repatriation.due_notes import due_notes
from asynchy.repatriation.executor import Executor, RunReport
from tests.tools.catalogues import new_catalogue
from tests.tools.records import (
    NOW,
    copy_of,
    experiment_of,
    hours,
    policy_of,
    record_of,
    visit,
    wanted,
)


def at_home(epn: str, beamline: str = "mx", **changes: Any) -> ExperimentRecord:
    experiment = experiment_of(epn, beamline)
    copies = (copy_of(wanted(experiment)),)
    return record_of(experiment=experiment, copies=copies, **changes)


def due(epn: str, beamline: str = "mx", **changes: Any) -> ExperimentRecord:
    experiment = experiment_of(epn, beamline)
    return record_of(visit(epn, -17, -9, beamline), experiment=experiment, **changes)


def states_of(*records: ExperimentRecord, **changes: Any) -> tuple[ExperimentState, ...]:
    policy = policy_of(*records, **changes)
    return tuple(experiment_state(record, policy) for record in records)


def plan_of(*records: ExperimentRecord, ignored: tuple[str, ...] = (), **changes: Any) -> Plan:
    states = states_of(*records)
    return replace(Plan((), (), (), states=states, ignored=frozenset(ignored)), **changes)


class Site:
    """What a cycle needs of its surroundings; nothing is transferred."""

    def __init__(self, place: Path) -> None:
        self.ignore = IgnoreFile(place / "ignore.yml")
        catalogue = place / "catalogue.db"
        self.catalogue = new_catalogue(catalogue)
        StateMarkers.open(catalogue).begin()
        self.settings = SimpleNamespace(
            ignore=self.ignore.path,
            catalogue_address=catalogue,
            max_tasks=1,
            backups=2,
            keep_replaced=90,
            notify=(),
            webhooks=(),
            on_complete=(),
        )
        self.clock = SimpleNamespace(now=lambda: NOW)
        self.stop = SimpleNamespace(requested=False)
        self.board = SimpleNamespace(plan=lambda _: None, waiting=lambda _: None, beat=lambda: None)

    def run(self, plan: Plan) -> RunReport:
        context: Any = self
        return run_cycle(context, plan)

    @property
    def entries(self) -> dict[str, Origin]:
        """Whose each entry is that is in the file or was taken out."""
        epns = {epn.text for epn in self.ignore.read().epns}
        found = self.catalogue.ignore_entries.compare(dict.fromkeys(epns), NOW)
        return {epn: entry.origin for epn, entry in found.items()}


@pytest.fixture
def context(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_at_home_is_written_once_as_ours_and_no_persons_entry_is(context: Site) -> None:
    context.ignore.path.write_text("previouslySynched:\n- 1a # by hand\n")
    context.catalogue.ignore_entries.add({"1a": IgnoreEntry(Origin.PERSON, NOW)})
    plan = plan_of(at_home("1a"), at_home("1b"), at_home("2a"), due("2b"), ignored=("1a",))
    for _ in range(2):
        assert context.run(plan).exit_code is ExitCode.OK
    assert context.entries == {"1a": Origin.PERSON, "1b": Origin.OURS, "2a": Origin.OURS}
    assert context.ignore.path.read_text().count("- ") == 3
    markers = StateMarkers.open(context.settings.catalogue_address).read()
    assert (markers.ignore_file, markers.ignore_entries) == (str(context.ignore.path), 3)


def test_a_cycle_that_completes_nothing_leaves_the_file_and_notes_that_it_is_there(
    context: Site,
) -> None:
    context.ignore.path.write_text("previouslySynched: [1a]\n")
    context.run(plan_of())
    assert context.ignore.path.read_text().endswith("\npreviouslySynched: [1a]\n")
    assert context.ignore.read().catalogue == str(context.settings.catalogue_address)  # from now on
    markers = StateMarkers.open(context.settings.catalogue_address).read()
    assert (markers.ignore_entries, markers.ignore_comment) == (1, str(context.ignore.path))


def test_our_comment_that_a_person_removed_is_not_written_again(context: Site) -> None:
    context.run(plan_of(at_home("1a")))
    assert "Catalogue:" in context.ignore.path.read_text()
    context.ignore.path.write_text("previouslySynched:\n- 1a\n")
    context.run(plan_of(at_home("1b")))
    assert context.ignore.path.read_text() == "previouslySynched:\n- 1a\n- 1b # asynchy\n"


def test_entries_are_known_as_ours_before_they_are_in_the_file(
    context: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = []

    def fail(*_arguments: object) -> bool:
        noted.append(context.catalogue.ignore_entries.compare({"1a": None}, NOW)["1a"].origin)
        raise IgnoreListError("the disk is full", hint="make room")

    monkeypatch.setattr(IgnoreFile, "add_all", fail)
    report = context.run(plan_of(at_home("1a")))
    assert noted == [Origin.OURS]
    assert report.problems == ("the disk is full",) and report.exit_code is ExitCode.STATE_ERROR
    monkeypatch.undo()
    context.run(plan_of(at_home("1a")))  # the next cycle writes it
    assert context.entries == {"1a": Origin.OURS}


@pytest.mark.parametrize("left", ["ignore.yml", None])
def test_state_that_went_away_during_a_cycle_is_not_made_again(
    context: Site, left: str | None
) -> None:
    context.run(plan_of(at_home("1a")))
    for path in context.ignore.path.parent.iterdir():
        if path.is_dir():
            shutil.rmtree(path)  # backups
        elif path.name != left:
            path.unlink()
    report = context.run(plan_of(at_home("1b")))
    assert report.exit_code is ExitCode.STATE_ERROR
    said = "catalogue.db is missing or empty" if left else "went away during the cycle"
    assert said in report.problems[0]
    assert not left or "1b" not in context.ignore.path.read_text()
    assert left or not context.ignore.path.exists()


def test_an_entry_that_cannot_be_written_is_a_problem_of_the_report(context: Site) -> None:
    context.ignore.path.write_text("previouslySynched: [oops\n")
    report = context.run(plan_of(at_home("1a")))
    assert report.exit_code is ExitCode.STATE_ERROR and "ignore.yml" in report.problems[0]
    assert context.ignore.path.read_text() == "previouslySynched: [oops\n"


# Which EPNs are added


def added(*records: ExperimentRecord, done: tuple[str, ...] = (), **changes: Any) -> list[str]:
    experiments = {one.experiment for one in records if one.epn.text in done}
    return [epn.text for epn in epns_to_add(states_of(*records, **changes), {"2b"}, experiments)]


def test_an_epn_is_added_once_every_experiment_of_it_is_settled() -> None:
    both = at_home("1a"), due("1a", "saxs")
    assert added(*both) == []
    assert added(*both, done=("1a",)) == ["1a"]
    assert added(at_home("1a"), at_home("1a", "saxs")) == ["1a"]
    released = replace(both[1], released=hours(-1))
    assert added(both[0], released) == ["1a"]
    assert added(at_home("2b")) == []  # it has an entry


def test_what_is_gone_is_added_only_if_it_is_whole_at_home() -> None:
    assert added(at_home("1a", vanished=hours(-1))) == ["1a"]
    assert added(due("1a", vanished=hours(-1))) == []
    assert added(at_home("1a", vanished=hours(-1), changed=hours(-2))) == []


def test_what_belongs_to_nobody_or_waits_is_not_added() -> None:
    assert added(due("77a")) == []
    assert added(at_home("1a", beamtimes=(visit("1a", -1, 1),))) == []


# What is noted


def noted(record: ExperimentRecord) -> ExperimentRecord:
    return replace(record, note=DueNote("old", hours(-99), hours(-9), "before"))


def test_what_was_left_undone_or_failed_is_noted_and_what_was_done_is_not() -> None:
    plan = plan_of(
        left_out=(
            Skipped(experiment_of("1a"), SkipReason.NO_SPACE, "5 GB to write", "ny79"),
            Skipped(experiment_of("1b"), SkipReason.RUNNING, "since then", "ny79"),
            Skipped(experiment_of("77a"), SkipReason.UNMAPPED, "", None),
            Skipped(experiment_of("1c"), SkipReason.EMPTY, "/data/mx/1c", "ny79"),
        )
    )
    failed = wanted(experiment_of("2a"))
    found = due_notes(plan, [(failed, "cut off")], {experiment_of("2b")})
    assert found.undone == {
        experiment_of("1a"): ("ny79", "not enough free space: 5 GB to write"),
        experiment_of("1c"): (
            "ny79",
            "nothing there yet: it has no files at the facility: /data/mx/1c",
        ),
        failed.experiment: ("kx12", "cut off"),
    }
    assert found.done == set()  # nothing was noted of it


def test_a_note_goes_once_its_experiment_is_settled_and_stays_while_it_waits() -> None:
    records = (
        noted(at_home("1a")),
        noted(due("1b", released=hours(-1))),
        noted(at_home("1c", vanished=hours(-1))),
        noted(due("1d", vanished=hours(-1))),
        noted(due("1e", beamtimes=(visit("1e", -1, 1),))),
        noted(due("2a")),
        noted(due("2b")),
    )
    found = due_notes(plan_of(*records), [], {experiment_of("2a")})
    assert sorted(one.epn.text for one in found.done) == ["1a", "1b", "1c", "2a"]


def test_a_note_keeps_its_first_day_until_it_goes(context: Site) -> None:
    catalogue, experiment = context.catalogue, experiment_of("1a", "saxs")
    catalogue.notifications.note({experiment: ("ny79", "cut off")}, (), hours(-9))
    catalogue.notifications.note({experiment: ("kx12", "disk full")}, (), hours(-5))
    (record,) = catalogue.overview.records()  # though nobody has seen it
    assert record == ExperimentRecord(
        experiment, note=DueNote("kx12", hours(-9), hours(-5), "disk full")
    )
    assert catalogue.overview.records(["1b"]) == []
    catalogue.notifications.note({}, [experiment_of("1a", "mx")], NOW)
    assert len(catalogue.overview.records()) == 1
    catalogue.notifications.note({}, [experiment], NOW)
    assert catalogue.overview.records() == []


def test_a_transfer_that_fails_is_noted_with_its_reason(
    context: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = PlannedTransfer(
        wanted(experiment_of("1a")), DueReason.NEW, ListingDiff(NOW, 1, 1, 0, 1, 1, 0, "f")
    )

    def broken(*_arguments: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("asynchy.repatriation.cycle.Executor", partial(Executor, fetch=broken))
    report = context.run(plan_of(due("1a"), at_home("1b"), transfers=(transfer,)))
    assert report.exit_code is ExitCode.INTERNAL
    (record,) = context.catalogue.overview.records()
    assert record.note == DueNote("ny79", NOW, NOW, "an error that asynchy did not expect")
    assert context.entries == {"1b": Origin.OURS}  # a defect loses no other entry
