"""How transfers get on: what a run writes, and what others read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.model.transfer_progress import RunningTransfer
from asynchy.runtime.progress import ProgressBoard
from asynchy.runtime.progress_recorder import ProgressRecorder
from tests.tools.catalogues import new_catalogue
from tests.tools.records import experiment_of, wanted

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 24, 12, 30, 20, tzinfo=UTC)


def running(epn: str = "1a", done: int = 5) -> RunningTransfer:
    return RunningTransfer(
        experiment_of(epn), "ny79", f"/projects/{epn}", NOW, NOW, 10, done, 2, 1, 2.5, 2.0, ""
    )


def test_what_a_process_stores_takes_the_place_of_what_it_stored_before(tmp_path: Path) -> None:
    transfers = new_catalogue(tmp_path / "catalogue.db").transfers
    transfers.store([running("1a"), running("2a")], 0, NOW)
    transfers.store([running("2a", 9)], 0, NOW)
    assert transfers.running() == [running("2a", 9)]
    transfers.store([], 0, NOW)
    assert transfers.running() == []


def test_a_transfer_whose_process_died_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    transfers = new_catalogue(path).transfers
    transfers.store([running()], 0, NOW)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE transfers SET process = 'another', pid = 1")
    assert transfers.running() == []
    transfers.store([running(done=7)], 0, NOW)
    assert [one.done for one in transfers.running()] == [7]


def test_bytes_of_one_minute_are_added_up(tmp_path: Path) -> None:
    transfers = new_catalogue(tmp_path / "catalogue.db").transfers
    for seconds, moved in ((0, 10), (30, 5), (60, 7), (61, 0)):
        transfers.store([], moved, NOW + timedelta(seconds=seconds))
    found = transfers.samples(NOW - timedelta(hours=1))
    assert [(one.at.minute, one.bytes, one.seconds) for one in found] == [(30, 15, 60), (31, 7, 60)]


def test_samples_of_old_minutes_become_hours_and_none_is_lost(tmp_path: Path) -> None:
    transfers = new_catalogue(tmp_path / "catalogue.db").transfers
    old = NOW - timedelta(days=40)
    for minutes in range(0, 180, 7):
        transfers.store([], 1, old + timedelta(minutes=minutes))
    transfers.store([], 100, NOW)
    transfers.thin(NOW)
    transfers.thin(NOW)
    found = transfers.samples(old - timedelta(days=1))
    assert {one.seconds for one in found[:-1]} == {3600} and found[-1].seconds == 60
    assert sum(one.bytes for one in found) == 126
    assert len(found) == 5


def test_a_recorder_stores_what_arrived_and_nothing_while_nothing_runs(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    copy = wanted(experiment_of("1a"))
    board = ProgressBoard()
    recorder = ProgressRecorder(board, catalogue)
    recorder.store()
    before = (tmp_path / "catalogue.db").stat().st_mtime_ns
    recorder.store()
    assert (tmp_path / "catalogue.db").stat().st_mtime_ns == before
    board.begin_reading(copy, 2, 100, "verifying")
    board.arrived(copy, 40, 1)
    with recorder.running():
        recorder.store()
        (one,) = catalogue.transfers.running()
        assert (one.doing, one.done, one.bytes, one.files_done) == ("verifying", 40, 100, 1)
        board.end(copy)
    assert catalogue.transfers.running() == []
    assert catalogue.transfers.samples(datetime.now(UTC) - timedelta(hours=1)) == [], (
        "what is read at home did not arrive"
    )
