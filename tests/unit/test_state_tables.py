"""The tables of `asynchy status` about what is not at home."""

from __future__ import annotations

import pytest

from asynchy.cli.output.states import show_states
from asynchy.model.experiment_state import experiment_state
from tests.tools.records import copy_of, experiment_of, policy_of, record_of, visit, wanted


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_complete_and_waits_for_a_visit_is_counted_and_not_listed_as_not_at_home(
    capsys: pytest.CaptureFixture[str], complete: bool
) -> None:
    copies = (copy_of(wanted(experiment_of("1a"))),) if complete else ()
    record = record_of(visit("1a", -100, -90), visit("1a", -1, 5), epn="1a", copies=copies)
    show_states([experiment_state(record, policy_of(record))])
    said = capsys.readouterr().out
    assert ("Not at home:" not in said) == complete
    assert ("1 experiment is complete at home, and compared again once" in said) == complete
