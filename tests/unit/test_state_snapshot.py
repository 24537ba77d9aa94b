"""The snapshot of all states: written once, read a page at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asynchy.catalogue.state_snapshot import StateSnapshot, as_json, write_state_snapshot
from asynchy.errors import CatalogueError
from asynchy.model.experiment_query import ExperimentOrder, ExperimentQuery
from asynchy.model.experiment_summary import ExperimentSummary

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def row(epn: str, **changes: Any) -> ExperimentSummary:
    values: dict[str, Any] = {
        "epn": epn, "beamline": "mx", "proposal": int(epn.rstrip("abc")), "project": "ny79",
        "state": "at_home", "cause": "", "is_settled": True, "is_asked_for": False, "why": "",
        "next_step": "", "attention": "", "title": "", "person": "", "email": "", "measured": NOW,
        "year": "2026", "files": 2, "bytes": 10, "home_files": 2, "home_bytes": 10, "damaged": 0,
        "level": "size", "completed": NOW, "verified": NOW, "left_out": "",
        "destination": "/p", "source": "/d",
        "vanished": None, "risk": "", "kept_until": None, "suggestion": "",
        "suggestion_reason": "",
    }  # fmt: skip
    return ExperimentSummary(**{**values, **changes})


ROWS = [
    row("7a", state="unowned", cause="no project", project="", is_settled=False, bytes=None),
    row("9a", title="Größe of 100 % things", person="Åsa Öberg", measured=None, year=""),
    row("10a", state="due", is_settled=False, risk="never fetched", beamline="saxs",
        kept_until=NOW + timedelta(days=3), project="kx12", bytes=30),
    row("10b", risk="never fetched", kept_until=NOW - timedelta(days=1), bytes=None),
    row("11a", risk="never fetched", attention="files were lost"),
]  # fmt: skip


@pytest.fixture
def snapshot(tmp_path: Path) -> StateSnapshot:
    write_state_snapshot(tmp_path / "states.db", ROWS, {"at": NOW.isoformat()})
    return StateSnapshot(tmp_path / "states.db")


def epns(snapshot: StateSnapshot, **query: Any) -> list[str]:
    return [one.epn for one in snapshot.page(ExperimentQuery(**query)).rows]


def test_rows_come_back_as_they_were_written(snapshot: StateSnapshot) -> None:
    assert list(snapshot.all(ExperimentQuery())) == ROWS
    assert snapshot.of_epn("10a") == [ROWS[2]]
    assert snapshot.facts() == {"at": NOW.isoformat()}


def test_epns_are_sorted_by_number_and_not_by_text(snapshot: StateSnapshot) -> None:
    assert epns(snapshot, order=ExperimentOrder.EPN) == ["7a", "9a", "10a", "10b", "11a"]


def test_what_is_not_known_is_sorted_last_in_both_directions(snapshot: StateSnapshot) -> None:
    for descending in (False, True):
        found = epns(snapshot, order=ExperimentOrder.SIZE, is_descending=descending)
        assert set(found[-2:]) == {"7a", "10b"}


@pytest.mark.parametrize(
    ("text", "found"),
    [("größe", ["9a"]), ("GRÖSSE", ["9a"]), ("öberg", ["9a"]), ("10", ["9a", "10a", "10b"]), ("%", ["9a"]),
     ("_", []), ("kx12", ["10a"]), ("saxs 10", ["10a"]), ("nothing", [])],
)  # fmt: skip
def test_a_search_finds_parts_of_epn_title_name_project_and_beamline(
    snapshot: StateSnapshot, text: str, found: list[str]
) -> None:
    assert epns(snapshot, text=text, order=ExperimentOrder.EPN) == found


def test_filters_narrow_and_a_dash_finds_what_has_no_value(snapshot: StateSnapshot) -> None:
    assert epns(snapshot, filters={"state": "due", "beamline": "saxs"}) == ["10a"]
    assert epns(snapshot, filters={"project": "-"}) == ["7a"]
    assert epns(snapshot, filters={"year": "-"}) == ["9a"]
    assert epns(snapshot, needs_person=True) == ["7a", "11a"]
    assert epns(snapshot, at_risk=True, order=ExperimentOrder.KEPT_UNTIL) == ["10b", "10a", "11a"]


def test_a_page_after_the_last_is_the_last(snapshot: StateSnapshot) -> None:
    page = snapshot.page(ExperimentQuery(page=99, per_page=2))
    assert (page.page, page.pages, page.total, len(page.rows)) == (3, 3, 5, 1)
    nothing = snapshot.page(ExperimentQuery(text="nothing"))
    assert (nothing.page, nothing.pages, nothing.total, nothing.bytes) == (1, 1, 0, 0)


def test_totals_count_what_is_not_known_apart(snapshot: StateSnapshot) -> None:
    by_name = {one.name: one for one in snapshot.totals("project")}
    assert by_name["ny79"].experiments == 3 and by_name["ny79"].bytes == 30
    assert (by_name["kx12"].left_bytes, by_name["kx12"].unknown) == (30, 0)
    assert (by_name[""].left_bytes, by_name[""].unknown) == (0, 1)
    assert snapshot.counts("state") == {"at_home": 3, "due": 1, "unowned": 1}


def test_what_is_at_risk_is_counted_by_the_days_that_are_left(snapshot: StateSnapshot) -> None:
    found = {one.name: (one.experiments, one.bytes, one.unknown) for one in snapshot.at_risk(NOW)}
    assert found == {
        "past": (1, 0, 1), "7d": (1, 30, 0), "14d": (0, 0, 0), "30d": (0, 0, 0),
        "unknown": (1, 10, 0), "later": (0, 0, 0),
    }  # fmt: skip


def test_json_has_null_for_what_is_not_known() -> None:
    found = as_json(ROWS[0])
    assert (found["project"], found["bytes"], found["measured"]) == (None, None, NOW.isoformat())
    assert found["is_settled"] is False


def test_a_snapshot_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        StateSnapshot(tmp_path / "none.db").facts()
    with pytest.raises(CatalogueError, match="cannot be written"):
        write_state_snapshot(tmp_path / "no" / "states.db", ROWS, {})
