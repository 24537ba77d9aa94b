"""Which copies are held against the facility again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynchy.domain.attempt import Claim
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment
from asynchy.plan.checking import Kept, to_verify
from asynchy.plan.outcome import Due, Left, LeftOut, Why

NOW = datetime.now(UTC)


def kept(epn: str = "12282a", source: str = "/data/mx/12282a", **changes: Any) -> Kept:
    folder = Path("/projects/ny79") / epn
    copy = Copy(Experiment("mx", Epn(epn)), "ny79", source, folder, folder / "data")
    values = {
        "id": 1, "complete": True, "doubted": False, "vanished": None, "attempts": 1,
        "audits": 0, "audited": None, "claim": None, **changes,
    }  # fmt: skip
    return Kept(copy=copy, **values)


def test_all_that_are_complete_or_were_are_taken() -> None:
    given = [kept("1a"), kept("2b", complete=False), kept("3c", complete=False, doubted=True)]
    found = to_verify(given, (), lambda folder: True)
    assert [(item.copy.epn.text, item.why) for item in found if isinstance(item, Due)] == [
        ("1a", Why.VERIFIED),
        ("3c", Why.DIFFERENT),
    ]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("item", "named", "reason"),
    [
        (kept(complete=False), True, Left.INCOMPLETE),
        (kept(source=""), False, Left.ODD_SOURCE),
        (kept(source="/data/$(x)"), False, Left.ODD_SOURCE),
        (kept(claim=Claim("here", 1, NOW, NOW)), False, Left.CLAIMED),
        (kept(vanished=NOW), False, Left.GONE),
    ],
)
def test_what_is_not_to_be_had_is_left_out_with_the_reason(
    item: Kept, named: bool, reason: Left
) -> None:
    (found,) = to_verify([item], {"12282a"} if named else (), lambda folder: True)
    assert isinstance(found, LeftOut) and found.reason is reason


def test_a_copy_that_is_not_there_is_never_fetched_anew() -> None:
    (found,) = to_verify([kept()], (), lambda folder: False)
    assert isinstance(found, LeftOut) and found.reason is Left.NO_COPY
    assert found.reason.stays_due


def test_those_that_are_named_alone_and_then_whatever_a_walk_said() -> None:
    given = [kept("1a"), kept("2b", vanished=NOW)]
    (found,) = to_verify(given, {"2b"}, lambda folder: True)
    assert isinstance(found, Due)
