"""A plan carried out: what a stop leaves undone is told, and the run ends."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.domain.attempt import Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.stop import Stop
from asynchy.service.bring import Outcome
from asynchy.service.work import Work


@pytest.mark.timeout(60)
def test_what_had_not_begun_when_it_was_stopped_holds_nothing_up() -> None:
    stop = Stop()
    board = SimpleNamespace(plan=lambda _: None, waiting=lambda _: None, beat=lambda: None)
    transfers = [
        SimpleNamespace(
            copy=Experiment("mx", Epn(f"{number}a")), survey=SimpleNamespace(missing_bytes=1)
        )
        for number in range(1, 4)
    ]
    plan: Any = SimpleNamespace(transfers=transfers, unsure=None)
    site: Any = SimpleNamespace(stop=stop, board=board)

    def bring(_site: Any, transfer: Any, _unsure: str | None) -> Outcome:
        stop.ask()
        time.sleep(1)  # it makes durable what it has, while the others still wait
        return Outcome(transfer.copy, Verdict.STOPPED, "stopped")

    report = Work(site, plan, bring=bring).run(1)
    assert [outcome.reason for outcome in report.outcomes] == [
        "stopped", "stopped before it began", "stopped before it began",
    ]  # fmt: skip
