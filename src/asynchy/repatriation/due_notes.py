"""Notes of open and completed experiments, for the mails and for `asynchy status`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_state import State
from asynchy.model.plan import Plan


@dataclass(frozen=True)
class DueNotes:
    """The notes of a cycle."""

    undone: Mapping[Experiment, tuple[str, str]]
    """Project and reason."""
    done: Collection[Experiment]
    """Experiments whose notes are removed."""


def due_notes(
    plan: Plan, failed: Iterable[tuple[Copy, str]], completed: Collection[Experiment]
) -> DueNotes:
    """The notes for a plan that was executed.

    `failed` are the copies that did not become complete, with the reason; `completed` the
    experiments that did.
    """
    undone = {
        item.experiment: (item.project or "", str(item))
        for item in plan.left_out
        if item.reason.stays_due
    }
    undone |= {copy.experiment: (copy.project, reason) for copy, reason in failed}
    # A person may undo a skip; the experiment must still be known as due then.
    settled = {
        item.experiment
        for item in plan.states
        if item.is_settled and item.state is not State.SKIPPED
    }
    noted = {item.experiment for item in plan.states if item.record.note is not None}
    return DueNotes(undone, (({*completed} | settled) & noted) - undone.keys())
