"""The waits between tries."""

from __future__ import annotations

import pytest

from asynchy.model.backoff import Backoff


@pytest.mark.parametrize(
    ("failed", "wait"), [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (10**9, 60)]
)
def test_wait_after_each_failed_try_doubles_up_to_the_longest(failed: int, wait: float) -> None:
    assert Backoff(first=0.5, longest=60).seconds(failed) == wait


def test_wait_with_a_factor_of_four_grows_by_it() -> None:
    backoff = Backoff(first=1, longest=15, factor=4)
    assert [backoff.seconds(failed) for failed in (1, 2, 3)] == [1, 4, 15]


def test_wait_with_a_spread_is_random_and_never_shorter() -> None:
    backoff = Backoff(first=1, longest=60, spread=0.5)
    waits = {backoff.seconds(2) for _ in range(20)}
    assert len(waits) > 1
    assert all(2 <= wait <= 2.5 for wait in waits)


def test_longest_wait_shorter_than_the_first_bounds_it() -> None:
    assert Backoff(first=300, longest=60).seconds(1) == 60
