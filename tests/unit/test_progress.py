"""What is told of the work while it goes on."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asynchy.model import heartbeat
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment, ListingDiff
from asynchy.runtime import periodic
from asynchy.runtime.progress import ProgressBoard


def copy(epn: str) -> Copy:
    folder = Path("/home/ny79")
    return Copy(Experiment("mx", Epn(epn)), "ny79", f"/data/mx/{epn}", folder, folder / epn)


def listing_diff(missing: int) -> ListingDiff:
    return ListingDiff(datetime.now(UTC), 1, missing, 1, 1, missing, 0, "")


A, B = copy("12282a"), copy("8020l")


def test_each_transfer_and_all_of_them_end_at_exactly_100_percent() -> None:
    board = ProgressBoard()
    board.plan(300)
    board.begin(A, listing_diff(100))
    board.begin(B, listing_diff(200))
    board.arrived(A, 50, 0)
    assert (board.running()[A].done, board.overall().done) == (50, 50)
    board.arrived(A, 100, 0)
    board.end(A)
    board.arrived(B, 1000, 0)  # rsync counts in full what it resumed
    assert (board.running()[B].done, board.running()[B].bytes) == (200, 200)
    assert (board.overall().done, board.overall().bytes) == (300, 300)
    assert str(board.running()[B]).startswith("100 % of 200 B, 0 of 1 file at ")
    assert "left" not in str(board.running()[B])
    board.end(B)
    assert board.overall().done == 300


@pytest.mark.parametrize(("left", "moved"), [(0, 100), (40, 60)])
def test_bytes_that_an_earlier_run_left_are_done_and_did_not_arrive(left: int, moved: int) -> None:
    board = ProgressBoard()
    board.begin(A, listing_diff(100))
    board.arrived(A, left, 0)
    board.arrived(A, 100, 0)  # all at once: nobody asked meanwhile
    assert (board.running()[A].done, board.moved) == (100, moved)


def test_a_first_report_that_has_files_is_of_bytes_that_arrived() -> None:
    board = ProgressBoard()
    board.begin(A, listing_diff(100))
    board.arrived(A, 100, 1)  # all at once, by an engine that reported nothing before
    assert board.moved == 100


def test_what_is_fetched_again_comes_on_top() -> None:
    board = ProgressBoard()
    board.plan(100)
    board.begin(A, listing_diff(100))
    board.arrived(A, 100, 0)
    board.begin(A, listing_diff(7))
    assert (board.overall().done, board.overall().bytes) == (100, 107)
    board.arrived(A, 7, 0)
    board.end(A)
    assert board.overall().done == 107


def test_what_is_read_afterwards_is_no_part_of_what_is_fetched() -> None:
    board = ProgressBoard()
    board.plan(300)
    board.begin(A, listing_diff(100))
    board.begin(B, listing_diff(200))
    board.arrived(A, 100, 1)
    board.begin_reading(A, 1, 1000, "reading")
    board.arrived(A, 600, 0)
    assert (board.overall().done, board.overall().bytes) == (100, 300)
    assert board.running()[A].done == 600
    board.arrived(B, 200, 1)
    assert (board.overall().done, board.overall().bytes) == (300, 300)
    board.end(A)
    board.end(B)
    assert board.overall().done == 300


def test_where_nothing_is_to_be_fetched_what_is_read_is_all_of_it() -> None:
    board = ProgressBoard()
    board.plan(0)
    board.begin_reading(A, 1, 1000, "verifying")
    board.arrived(A, 600, 0)
    board.end(A)
    assert (board.overall().done, board.overall().bytes) == (600, 1000)


def test_a_first_burst_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board = ProgressBoard()
    board.plan(600)
    board.begin(A, listing_diff(600))
    board.arrived(A, 0, 0)
    now += 0.0625
    board.arrived(A, 100, 1)
    assert board.running()[A].speed == board.overall().speed == "100 B/s"
    now += 2.9375
    board.arrived(A, 150, 1)
    assert board.running()[A].speed == "50 B/s, 9.0 s left"


def test_the_line_that_people_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board = ProgressBoard()
    board.phase("asking the portal")
    assert board.line() == "asking the portal"
    board.begin(A, listing_diff(1_000_000))
    board.arrived(A, 0, 0)
    board.arrived(A, 1000, 0)
    now += 4
    board.arrived(A, 410_000, 0)
    board.waiting(2)
    today = datetime.now().astimezone()
    board.next_look = today.replace(hour=14, minute=5)
    assert board.line().startswith("12282a 41 % of 1.00 MB, 0 of 1 file at ")
    assert board.line().endswith(f" left, 2 waiting, next look 14:05 {today:%Z}")
    board.next_look = datetime(2025, 3, 2, 14, 5).astimezone()
    assert board.line().endswith(f", next look 2025-03-02 14:05 {board.next_look:%Z}")


def test_no_sign_of_life_once_the_loop_is_quiet_or_nobody_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = ProgressBoard()
    heartbeat.beat()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        listener.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        tell = periodic.notify_systemd(board).action
        tell()
        assert listener.recv(100).startswith(b"STATUS=")
        assert listener.recv(100) == b"WATCHDOG=1"
        now = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: now)
        tell()
        periodic.notify("end")
        assert listener.recv(100).startswith(b"STATUS=")
        assert listener.recv(100) == b"end"
        board.beat()  # it waits for those who work, and they stand still
        tell()
        periodic.notify("end")
        assert listener.recv(100).startswith(b"STATUS=")
        assert listener.recv(100) == b"end"
        heartbeat.beat()
        tell()
        assert listener.recv(100).startswith(b"STATUS=")
        assert listener.recv(100) == b"WATCHDOG=1"
