"""What a cycle completed gets into `ignore.yml` once, whatever ends the cycle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asynchy.service.ignore_updates import IgnoreUpdates
from asynchy.service.whole_cycle import carry_out

from asynchy.catalogue.database import Database
from asynchy.catalogue.state_markers import StateMarkers, ignored_by_us
from asynchy.config.ignore_file import IgnoreFile
from asynchy.domain.epn import Epn
from asynchy.errors import IgnoreListError
from asynchy.plan.outcome import Plan
from asynchy.service import whole_cycle
from asynchy.service.work import Report

NOW = datetime.now(UTC)
EMPTY = Plan((), (), ())


@pytest.fixture
def updates(tmp_path: Path) -> IgnoreUpdates:
    StateMarkers.open(tmp_path / "catalogue.db").begin()
    settings: Any = SimpleNamespace(
        ignore=tmp_path / "ignore.yml", catalogue_path=tmp_path / "catalogue.db"
    )
    return IgnoreUpdates(settings)


def ours(updates: IgnoreUpdates) -> frozenset[str]:
    with Database.peek(updates.path.with_name("catalogue.db")).transaction() as db:
        return ignored_by_us(db)


def site_with(updates: IgnoreUpdates) -> Any:
    return SimpleNamespace(ignore=updates, clock=SimpleNamespace(now=lambda: NOW))


def test_collected_epns_are_written_and_noted_as_ours_but_no_persons_entry(
    updates: IgnoreUpdates,
) -> None:
    updates.path.write_text("previouslySynched:\n- 1a # by hand\n")
    for epn in ("1a", "2b", "3c", "2b"):
        updates.add(Epn(epn))
    assert updates.read() == {"1a"}
    assert updates.write(NOW) is None
    assert updates.read() == {"1a", "2b", "3c"}
    assert ours(updates) == {"2b", "3c"}
    markers = StateMarkers.open(updates.path.with_name("catalogue.db")).read()
    assert (markers.ignore_file, markers.ignore_entries) == (str(updates.path), 3)


def test_a_cycle_that_completes_nothing_leaves_the_file_and_notes_that_it_is_there(
    updates: IgnoreUpdates,
) -> None:
    updates.path.write_text("previouslySynched: [1a]\n")
    assert updates.write(NOW) is None
    assert updates.path.read_text() == "previouslySynched: [1a]\n"
    markers = StateMarkers.open(updates.path.with_name("catalogue.db")).read()
    assert (markers.ignore_entries, markers.ignore_comment) == (1, None)


def test_our_comment_that_a_person_removed_is_not_written_again(updates: IgnoreUpdates) -> None:
    updates.add(Epn("1a"))
    assert updates.write(NOW) is None
    assert "Catalogue:" in updates.path.read_text()
    updates.path.write_text("previouslySynched:\n- 1a\n")
    updates.add(Epn("2b"))
    assert updates.write(NOW) is None
    assert updates.path.read_text() == "previouslySynched:\n- 1a\n- 2b\n"


def test_entries_are_noted_as_ours_before_they_are_in_the_file(
    updates: IgnoreUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = []

    def fail(*_arguments: object) -> bool:
        noted.append(ours(updates))
        raise IgnoreListError("the disk is full", hint="make room")

    monkeypatch.setattr(IgnoreFile, "add_all", fail)
    updates.add(Epn("1a"))
    problem = updates.write(NOW)
    assert problem == "1a: complete, but not noted in ignore.yml: the disk is full"
    assert noted == [{"1a"}]


def test_a_catalogue_that_went_away_is_not_made_anew(updates: IgnoreUpdates) -> None:
    updates.add(Epn("1a"))
    assert updates.write(NOW) is None
    updates.path.with_name("catalogue.db").unlink()
    updates.add(Epn("2b"))
    problem = updates.write(NOW)
    assert problem and "catalogue.db is missing or empty" in problem
    assert updates.read() == {"1a"}
    assert not updates.path.with_name("catalogue.db").exists()


def test_state_that_went_away_as_a_whole_is_not_made_anew(updates: IgnoreUpdates) -> None:
    catalogue = updates.path.with_name("catalogue.db")
    updates.add(Epn("1a"))
    for path in updates.path.parent.iterdir():
        path.unlink()
    problem = updates.write(NOW)
    assert problem and "went away during the cycle" in problem
    assert f"The folder {catalogue.parent} is empty" in problem
    assert not updates.path.exists() and not catalogue.exists()


def test_a_defect_that_ends_a_cycle_loses_no_entry(
    updates: IgnoreUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(site: Any, _plan: Plan) -> Report:
        site.ignore.add(Epn("1a"))
        raise RuntimeError("in the middle")

    monkeypatch.setattr(whole_cycle, "run_cycle", broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        carry_out(site_with(updates), EMPTY)
    assert updates.read() == {"1a"}


def test_an_entry_that_cannot_be_written_is_a_problem_of_the_report(
    updates: IgnoreUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(site: Any, plan: Plan) -> Report:
        site.ignore.add(Epn("1a"))
        site.ignore.path.write_text("previouslySynched: [oops\n")
        return Report(plan, (), ("another",))

    monkeypatch.setattr(whole_cycle, "run_cycle", ran)
    report = carry_out(site_with(updates), EMPTY)
    assert report.problems[0] == "another"
    assert report.problems[1].startswith("1a: complete, but not noted in ignore.yml: ")
    assert report.exit_code == 5
    assert updates.path.read_text() == "previouslySynched: [oops\n"
