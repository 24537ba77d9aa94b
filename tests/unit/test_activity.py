"""What a report of activity makes of attempts and checks; what a forecast makes of the rate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.history import PastAttempt, PastCheck
from asynchy.model.pause import Pause
from asynchy.model.plan import SkipReason
from asynchy.model.verification import Check
from asynchy.reporting.activity import CopyNews, activity, time_covered
from asynchy.reporting.forecast import forecast
from asynchy.reporting.usage import UsageKey, usage
from tests.tools.records import copy_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)


def attempt(
    verdict: Verdict, *, began: float, seconds: float, moved: int | None, reason: str | None = None
) -> Attempt:
    """An attempt that began so many seconds before now."""
    started = NOW - timedelta(seconds=began)
    return Attempt(
        started=started, ended=started + timedelta(seconds=seconds), host="vm", pid=1,
        engine="sftp", chosen=None, check="size", compare="size", verdict=verdict, exit_code=0,
        files=None if moved is None else 1, bytes=moved, listed_at=None, listed_files=None,
        listed_bytes=None, reason=reason, stderr="",
    )  # fmt: skip


def past(epn: str, made: Attempt, *, again: bool = False) -> PastAttempt:
    return PastAttempt(Experiment("mx", Epn(epn)), "one", f"/home/{epn}", made, again)


def check(kind: str, *, different: int = 0, missing: int = 0, whole: bool = True) -> PastCheck:
    made = Check(
        kind=kind, way="read", started=NOW, ended=NOW, host="vm", pid=1, files=10, bytes=100,
        different=different, missing=missing, extra=0, digested=0, edited=0, reason=None,
        whole=whole,
    )  # fmt: skip
    return PastCheck(Experiment("mx", Epn("1a")), "one", "/home/1a", made)


def test_a_copy_that_was_adopted_did_not_come_home() -> None:
    adopted = replace(attempt(Verdict.COMPLETE, began=10, seconds=2, moved=0), engine="")
    fetched = attempt(Verdict.COMPLETE, began=5, seconds=2, moved=10)
    (one,) = activity(NOW - DAY, NOW, [past("1a", adopted)], []).copies
    assert one.news is CopyNews.ADOPTED
    (one,) = activity(NOW - DAY, NOW, [past("1a", adopted), past("1a", fetched)], []).copies
    assert one.news is CopyNews.CAME


@pytest.mark.parametrize(
    ("attempts", "news"),
    [
        ([(Verdict.COMPLETE, 10, False)], CopyNews.CAME),
        ([(Verdict.FAILED, 5, False), (Verdict.COMPLETE, 10, False)], CopyNews.CAME),
        ([(Verdict.COMPLETE, 0, False), (Verdict.COMPLETE, 0, True)], CopyNews.CAME),
        ([(Verdict.COMPLETE, 10, True)], CopyNews.MORE),
        ([(Verdict.COMPLETE, 0, True)], CopyNews.SAME),
        ([(Verdict.COMPLETE, 10, False), (Verdict.FAILED, 0, True)], CopyNews.INCOMPLETE),
        ([(Verdict.STOPPED, None, False)], CopyNews.INCOMPLETE),
        ([(Verdict.TRANSFERRED, 10, False)], CopyNews.INCOMPLETE),
    ],
)
def test_what_became_of_a_copy_is_told_from_its_attempts(
    attempts: list[tuple[Verdict, int | None, bool]], news: CopyNews
) -> None:
    made = [
        past("1a", attempt(verdict, began=10, seconds=2, moved=moved), again=again)
        for verdict, moved, again in attempts
    ]
    (one,) = activity(NOW - DAY, NOW, made, []).copies
    assert one.news is news
    assert one.bytes == sum(moved or 0 for _, moved, _ in attempts)
    assert one.seconds == 2 * len(attempts)


def test_what_is_not_complete_comes_first_and_with_its_reason() -> None:
    failed = attempt(Verdict.FAILED, began=9, seconds=1, moved=None, reason="the disk is full")
    found = activity(
        NOW - DAY, NOW,
        [past("1a", attempt(Verdict.COMPLETE, began=9, seconds=1, moved=3)), past("2a", failed)],
        [],
    )  # fmt: skip
    assert [(one.experiment.epn.text, one.reason) for one in found.copies] == [
        ("2a", "the disk is full"),
        ("1a", None),
    ]
    assert (found.copies[0].failed, found.copies[0].rate) == (1, None)


def test_attempts_at_the_same_time_count_once_for_the_rate() -> None:
    made = [
        attempt(Verdict.COMPLETE, began=100, seconds=10, moved=1000),
        attempt(Verdict.COMPLETE, began=95, seconds=10, moved=1000),
        attempt(Verdict.COMPLETE, began=98, seconds=2, moved=1000),
        attempt(Verdict.COMPLETE, began=50, seconds=5, moved=1000),
    ]
    assert time_covered(made) == 20
    found = activity(NOW - DAY, NOW, [past(f"{n}a", one) for n, one in enumerate(made, 1)], [])
    assert (found.bytes, found.rate) == (4000, 200)


def test_checks_are_added_up_by_their_kind() -> None:
    found = activity(
        NOW - DAY, NOW, [],
        [check("verify"), check("audit", different=2), check("audit", whole=False)],
    )  # fmt: skip
    assert (found.verified.checks, found.verified.wrong, found.verified.bytes) == (1, 0, 100)
    assert (found.audited.checks, found.audited.wrong, found.audited.unfinished) == (2, 1, 1)


def due(epn: str, size: int | None, **keys: object) -> ExperimentState:
    experiment = Experiment("mx", Epn(epn))
    folder = Path("/home/one")
    made = ExperimentState(
        ExperimentRecord(experiment, bytes=size),
        State.DUE,
        project="one",
        wanted=Copy(experiment, "one", f"/data/{epn}", folder, folder / epn),
    )
    return replace(made, **keys)  # type: ignore[arg-type]


def test_a_forecast_takes_the_rate_of_transfers_and_names_what_comes_too_late() -> None:
    moved = past("9a", attempt(Verdict.COMPLETE, began=1000, seconds=10, moved=1000))
    states = [
        due("1a", 3000),
        due("2a", None),
        due("3a", 5000),
        due("4a", 1, left=SkipReason.NO_SPACE),
        due("5a", 1, state=State.WAITING),
    ]
    kept = {
        states[0].experiment: NOW + timedelta(seconds=29),
        states[2].experiment: NOW + timedelta(days=1),
    }
    found = forecast(states, [moved], kept, NOW, days=28, free_at=lambda _: (1, 8000))
    assert found.rate == 100
    assert [one.bytes for one in found.backlog] == [3000, 1500, 5000]
    assert [one.known for one in found.backlog] == [True, False, True]
    assert found.done == NOW + timedelta(seconds=95)
    assert [one.experiment.epn.text for one in found.late] == ["1a"]
    assert (found.waiting, found.held_back, found.unknown) == (1, 1, 1)
    (disk,) = found.disks
    assert (disk.wanted, disk.free, disk.fits) == (9500, 8000, False)


@pytest.mark.parametrize("until", [NOW + timedelta(days=2), None])
def test_a_forecast_during_a_pause_counts_from_its_end_or_promises_nothing(
    until: datetime | None,
) -> None:
    moved = past("9a", attempt(Verdict.COMPLETE, began=1000, seconds=10, moved=1000))
    states = [due("1a", 100), due("2a", 100)]
    kept = {states[0].experiment: NOW, states[1].experiment: NOW + DAY}
    found = forecast(
        states, [moved], kept, NOW, days=28, free_at=lambda _: None,
        pause=Pause(NOW - DAY, until, "move"),
    )  # fmt: skip
    assert found.done == (None if until is None else until + timedelta(seconds=2))
    # What comes too late even if the pause ended now is told in any case.
    assert len(found.late) == (1 if until is None else 2)


def test_every_experiment_is_in_one_column_of_usage() -> None:
    again = due("1a", 50)
    assert again.wanted is not None
    held = copy_of(again.wanted, files=3, bytes=30)
    states = [
        replace(again, record=replace(again.record, copies=(held,))),  # complete, and more there
        replace(again, state=State.AT_HOME, record=replace(again.record, copies=(held,))),
        due("2a", None),
        due("3a", 7, state=State.UNOWNED, project=None),
        due("4a", 7, state=State.RELEASED),
    ]
    found = usage(states, UsageKey.PROJECT)
    total = found.total
    assert (total.complete, total.left, total.other) == (1, 2, 2)
    for row in (*found.rows, total):
        assert row.experiments == row.complete + row.left + row.other
    assert [row.name for row in found.rows] == ["one", "no project"]
    assert (total.bytes, total.left_bytes, total.unknown) == (60, 50, 1)


def test_a_forecast_without_transfers_promises_nothing() -> None:
    found = forecast([due("1a", 3000)], [], {}, NOW, days=28, free_at=lambda _: None)
    assert (found.rate, found.done, found.late) == (None, None, ())
    assert found.disks[0].fits is None
