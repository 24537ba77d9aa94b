"""The table of `asynchy status`: one line for each copy where there are 80 columns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asynchy.cli.output import copies
from asynchy.cli.output.copies import short_state, show_status
from asynchy.model.attempt import Claim, Verdict
from asynchy.model.copy_record import CopyRecord, LastAttempt, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.transfer_progress import RunningTransfer
from asynchy.model.verification import Level

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
LONG = "the connection to sftp.synchrotron.org.au was lost after 3 of 12 files"


def copy_of(epn: str) -> Copy:
    place = Path("/projects/ny79") / epn / "data"
    return Copy(Experiment("mx", Epn(epn)), "ny79", f"/data/mx/{epn}", place.parent.parent, place)


COMPLETE = CopyRecord(
    id=1,
    copy=copy_of("12282a"),
    completed=NOW,
    listed=NOW,
    suspect=False,
    level=Level.TRANSPORT,
    verified=NOW,
    damaged=0,
    files=1_234_567,
    bytes=812_000_000_000,
    attempts=1,
    last=LastAttempt(NOW, Verdict.COMPLETE, None),
)
NEW = replace(COMPLETE, completed=None, listed=None, level=None, files=None, bytes=None, last=None)
FAILED = replace(NEW, last=LastAttempt(NOW, Verdict.INTERRUPTED, LONG))


WORKING = replace(NEW, claim=Claim("dtn1", 3557, NOW, NOW))


def half(epn: str = "12282a", doing: str = "") -> RunningTransfer:
    return RunningTransfer(
        experiment=copy_of(epn).experiment,
        project="ny79",
        destination=str(copy_of(epn).destination),
        since=NOW,
        heartbeat=NOW,
        bytes=800_000_000_000,
        done=400_000_000_000,
        files=1_000_000,
        files_done=12_345,
        rate=95_000_000.0,
        left=4211.0,
        doing=doing,
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (COMPLETE, "complete 2026-11-24"),
        (NEW, "not fetched yet"),
        (FAILED, "due: interrupted"),
        (replace(FAILED, last=LastAttempt(NOW, Verdict.COMPLETE, None)), "due: again"),
        (replace(COMPLETE, damaged=3), "due: damaged"),
        (replace(COMPLETE, suspect=True), "due: files missing"),
        (replace(COMPLETE, presence=Presence.MISSING), "due: not there"),
    ],
)
def test_a_short_state_has_at_most_twenty_columns(record: CopyRecord, words: str) -> None:
    assert short_state(record) == words
    assert len(words) <= 20


@pytest.mark.parametrize(
    ("running", "words"),
    [
        (None, "running"),
        (half(), "50 % at 95.0 MB/s"),
        (half(doing="verifying"), "verifying 50 %"),
    ],
)
def test_the_short_state_of_what_runs_says_how_far_it_is(
    running: RunningTransfer | None, words: str
) -> None:
    assert short_state(WORKING, running) == words


def test_a_copy_that_is_audited_is_shown_as_such_though_nothing_has_claimed_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(copies, "columns", lambda: 80)
    show_status([replace(COMPLETE, edited=3)], [half(doing="auditing")])
    table, running, *about = capsys.readouterr().out.split("\n\n")
    assert "auditing 50 %" in table
    assert "12282a (mx): complete 2026-11-24 14:05" in running and ": auditing 50 % of" in running
    assert about == []


def test_each_copy_is_one_line_of_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(copies, "columns", lambda: 80)
    some = [COMPLETE, WORKING, FAILED, replace(COMPLETE, edited=3)]
    some = [replace(one, copy=copy_of(f"1228{at}a")) for at, one in enumerate(some)]
    show_status(some, [half("12281a")])
    table, *below = capsys.readouterr().out.split("\n\n")
    _, _, *rows = table.splitlines()
    assert [row.split()[0] for row in rows] == ["12280a", "12281a", "12282a", "12283a"]
    assert max(map(len, table.splitlines())) <= 80
    assert "/projects" not in table
    running, about = below
    assert running.startswith("Running:\n  12281a (mx): process 3557 on dtn1 at work since ")
    assert "50 % of 800 GB, 12,345 of 1,000,000 files at 95.0 MB/s, 1 h 10 min left" in running
    assert about.splitlines()[0] == "About copies:"
    assert LONG in about and "3 files were changed at home" in about and "12280a" not in about


@pytest.mark.parametrize(("width", "wide"), [(80, True), (130, False)])
def test_a_wide_table_has_destinations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, wide: bool
) -> None:
    monkeypatch.setattr(copies, "columns", lambda: width)
    show_status([COMPLETE], wide=wide)
    assert "/projects/ny79/12282a/data" in capsys.readouterr().out


def test_of_many_copies_ten_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(copies, "columns", lambda: 80)
    show_status([FAILED] * 15)
    said = capsys.readouterr().out
    assert said.count(LONG) == 10 and "  5 more (--wide)" in said
