"""A plan carried out: what a stop leaves undone is told, and the run ends."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.copying.fetch import Outcome
from asynchy.model import heartbeat
from asynchy.model.attempt import Verdict
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.repatriation.executor import Executor
from asynchy.runtime.progress import ProgressBoard

NOTHING_KEPT = SimpleNamespace(overview=SimpleNamespace(replaced=list))


@pytest.mark.timeout(60)
def test_what_had_not_begun_when_it_was_stopped_holds_nothing_up() -> None:
    stop = Stop()
    board = SimpleNamespace(plan=lambda _: None, waiting=lambda _: None, beat=lambda: None)
    transfers = [
        SimpleNamespace(
            copy=Experiment("mx", Epn(f"{number}a")), listing_diff=SimpleNamespace(missing_bytes=1)
        )
        for number in range(1, 4)
    ]
    plan: Any = SimpleNamespace(transfers=transfers, unsure=None)
    context: Any = SimpleNamespace(stop=stop, board=board, catalogue=NOTHING_KEPT)

    def fetch(_context: Any, transfer: Any, _unsure: str | None) -> Outcome:
        stop.request()
        time.sleep(1)  # it makes durable what it has, while the others still wait
        return Outcome(transfer.copy, Verdict.STOPPED, "stopped")

    report = Executor(context, plan, fetch=fetch).run(1)
    assert [outcome.reason for outcome in report.outcomes] == [
        "stopped", "stopped before it began", "stopped before it began",
    ]  # fmt: skip


@pytest.mark.timeout(60)
def test_work_whose_transfers_stand_still_gives_no_sign_of_life_though_its_loop_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board, ended, looped = ProgressBoard(), threading.Event(), threading.Semaphore(0)
    beat = board.beat

    def beat_and_tell() -> None:
        beat()
        looped.release()

    monkeypatch.setattr(board, "beat", beat_and_tell)
    transfer = SimpleNamespace(
        copy=Experiment("mx", Epn("1a")), listing_diff=SimpleNamespace(missing_bytes=1)
    )
    plan: Any = SimpleNamespace(transfers=[transfer], unsure=None)
    context: Any = SimpleNamespace(stop=Stop(), board=board, catalogue=NOTHING_KEPT)

    def fetch(_context: Any, transfer: Any, _unsure: str | None) -> Outcome:
        ended.wait()
        return Outcome(transfer.copy, Verdict.STOPPED, "stopped")

    work = threading.Thread(target=Executor(context, plan, fetch=fetch).run, args=(1,))
    began = time.monotonic()
    heartbeat.beat()
    work.start()
    for _ in range(5):
        assert looped.acquire(timeout=30)
    assert board.quiet > 0.5 * (time.monotonic() - began)
    ended.set()
    work.join()
