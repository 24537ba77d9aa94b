"""Which copies are held against the facility again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asynchy.model.attempt import Claim
from asynchy.model.copy_record import Presence
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.verification.verify_selection import to_verify
from tests.tools.records import NOW, copy_of, experiment_of, old_place, record_of, wanted


def kept(epn: str = "1a", **changes: Any) -> ExperimentRecord:
    """An experiment with one copy, complete unless the changes say something else."""
    vanished = changes.pop("vanished", None)
    copy = replace(wanted(experiment_of(epn)), **changes.pop("copy", {}))
    record = replace(copy_of(copy), **changes)
    return record_of(epn=epn, vanished=vanished, copies=(record,))


def test_all_that_are_complete_or_were_are_taken() -> None:
    given = [kept("1a"), kept("1b", completed=None), kept("1c", completed=None, suspect=True)]
    found = to_verify(given, ())
    assert [(item.copy.epn.text, item.why) for item in found if isinstance(item, DueCopy)] == [
        ("1a", DueReason.VERIFIED),
        ("1c", DueReason.DIFFERENT),
    ]
    assert len(found) == 2


def test_every_copy_of_an_experiment_is_taken_wherever_it_is() -> None:
    experiment = experiment_of()
    places = wanted(experiment), old_place(experiment)
    record = record_of(copies=tuple(map(copy_of, places)))
    found = to_verify([record], ())
    assert [item.copy for item in found if isinstance(item, DueCopy)] == list(places)


@pytest.mark.parametrize(
    ("item", "named", "reason"),
    [
        (kept(completed=None), True, SkipReason.INCOMPLETE),
        (kept(copy={"source": ""}), False, SkipReason.ODD_SOURCE),
        (kept(copy={"source": "/data/$(x)"}), False, SkipReason.ODD_SOURCE),
        (kept(claim=Claim("here", 1, NOW, NOW)), False, SkipReason.CLAIMED),
        (kept(vanished=NOW), False, SkipReason.GONE),
    ],
)
def test_what_is_not_to_be_had_is_left_out_with_the_reason(
    item: ExperimentRecord, named: bool, reason: SkipReason
) -> None:
    (found,) = to_verify([item], {"1a"} if named else ())
    assert isinstance(found, Skipped) and found.reason is reason
    assert (found.experiment, found.project) == (item.experiment, "ny79")


@pytest.mark.parametrize("presence", [one for one in Presence if one is not Presence.THERE])
@pytest.mark.parametrize("suspect", [False, True])
def test_a_copy_that_is_not_there_is_never_fetched_again(presence: Presence, suspect: bool) -> None:
    given = kept(presence=presence, suspect=suspect)
    for epns in ((), ("1a",)):
        (found,) = to_verify([given], epns)
        assert isinstance(found, Skipped) and found.reason is SkipReason.COPY_MISSING
        assert found.reason.stays_due and found.reason.needs_person
        assert presence.value in found.detail and "asynchy copies" in found.detail


def test_those_that_are_named_alone_and_then_whatever_a_walk_said() -> None:
    given = [kept("1a"), kept("1b", vanished=NOW)]
    (found,) = to_verify(given, {"1b"})
    assert isinstance(found, DueCopy)
