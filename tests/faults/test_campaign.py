"""Ten runs of the campaign, which between them have every kind of fault.

The seeds are chosen: each fault strikes at a byte, not at a moment, and early, so that none comes
too late on a slow machine. Whoever changes `plan` chooses them anew.
"""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.faults.campaign import campaign
from tests.faults.plan import Kind, make_plan

SEEDS = (1321, 8988, 19157, 22650, 23839, 26102, 32306, 33125, 36739, 39903)
CANNOT = frozenset[Kind]() if ROOT else {Kind.DISK}
"""Faults that this user cannot make."""


@pytest.mark.extra
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_all_of_it_comes_home_and_nothing_is_left(seed: int) -> None:
    (result,) = campaign([seed])
    assert result.problems == [], f"{result.plan}\n{result.log}"
    assert result.missed.keys() <= CANNOT, result.plan
    assert result.struck.total() == len(result.plan.strikes) - result.missed.total()


def test_these_runs_have_every_kind_of_fault_both_engines_and_all_commands() -> None:
    plans = [make_plan(seed) for seed in SEEDS]
    assert {strike.kind for plan in plans for strike in plan.strikes} == set(Kind)
    assert {plan.engine for plan in plans} == {"sftp", "rsync"}
    assert {plan.command for plan in plans} == {"mxsync", "service", "sync", "sync --parallel"}
