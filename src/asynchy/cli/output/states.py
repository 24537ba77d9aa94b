"""The states of experiments, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from asynchy.cli.output.tables import bullets, line, once_a_mount, table
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, moment
from asynchy.model.plan_overview import overview_of, replaced_sentence, sentences
from asynchy.model.safety import edited_words, name_of, replaced_words
from asynchy.reporting.next_steps import next_step, why

_LISTED = frozenset({State.DUE, State.WAITING, State.UNOWNED, State.GONE})

_QUIET = {
    State.AT_HOME: "at home",
    State.SKIPPED: "skipped (listed in ignore.yml)",
    State.RELEASED: "released by a person",
    State.OUTSIDE: "in no visit",
}
"""States about which there is nothing to do."""


def show_states(states: Sequence[ExperimentState], notices: Sequence[str] = ()) -> None:
    """What is not at home, and why; what is left alone is counted."""
    listed = [item for item in states if item.state in _LISTED and not _is_home_so_far(item)]
    whole = [item for item in listed if item.state is State.GONE and item.left is None]
    _show_listed("Not at home:", [item for item in listed if item not in whole])
    _show_listed("Complete at home, and no longer at the facility:", whole)
    again = sum(map(_is_home_so_far, states))
    if again:
        number = count(again, "experiment is", "experiments are")
        line(f"\n{number} complete at home, and compared again once a visit has ended.")
    show_quiet(states, notices)


def _is_home_so_far(item: ExperimentState) -> bool:
    """Whether a visit runs or is to come, and all that there was before is complete at home."""
    return item.state is State.WAITING and any(
        copy.completed is not None and copy.presence is Presence.THERE and not copy.is_damaged
        for copy in item.record.copies
    )


def _show_listed(heading: str, states: Sequence[ExperimentState]) -> None:
    if states:
        line(f"\n{heading}\n")
        rows = ((item.left, item.reason, _row(item)) for item in states)
        table(("EPN", "Beamline", "Project", "State", "Why"), once_a_mount(rows))


def show_quiet(
    states: Sequence[ExperimentState], notices: Sequence[str] = (), *, after_run: bool = False
) -> None:
    """How many experiments are left alone, and what people should know besides.

    `after_run`: what needs a look is said by the report of the run.
    """
    overview = overview_of(states)
    less = [one for one in overview.replaced if one.replaced.by_less]
    looked_at = {one.copy.experiment for one in less}
    counts = Counter(item.state for item in states if item.experiment not in looked_at)
    quiet = [f"{words}: {counts[one]:,}" for one, words in _QUIET.items() if counts[one]]
    if quiet:
        text = "; ".join(quiet)
        line(f"\n{text[0].upper()}{text[1:]}.")
    bullets("Needs a look:", [] if after_run else list(map(replaced_sentence, less)))
    others = replace(overview, replaced=tuple(one for one in overview.replaced if one not in less))
    bullets("Besides:", [*sentences(others), *notices])


def show_experiment(states: Sequence[ExperimentState], config: str) -> None:
    """The state of the experiments of one EPN, why, and what to do."""
    for item in states:
        record = item.record
        line(f"{name_of(item.experiment)}: {item.state.value}")
        if because := why(item):
            line(f"  why: {because}")
        if item.project is not None:
            line(f"  project: {item.project}")
        if item.wanted is not None:
            line(f"  place at home: {item.wanted.destination}")
        if record.link_target is not None:
            line(f"  at the facility: {record.source}, a link to {record.link_target}")
        for visit in record.beamtimes:
            line(f"  visit: {moment(visit.visit.start)} to {moment(visit.visit.end)}")
        step = next_step(item, config)
        if step is not None:
            line(f"  next step: {step}")
        if item.copy is not None:
            _show_files(item.copy)
        line("")


def _show_files(copy: CopyRecord) -> None:
    """What people should know of the files of a copy."""
    if copy.losses:
        line(f"  lost at the facility: {copy.losses}")
    if copy.edited:
        line(f"  changed at home: {edited_words(copy)} and left alone")
    if copy.replaced.files:
        line(f"  kept: {replaced_words(copy)}")


def _row(item: ExperimentState) -> Sequence[str]:
    project = item.project or ("needs a project" if item.state is State.UNOWNED else "-")
    return (
        item.record.epn.text,
        item.experiment.beamline or "-",
        project,
        item.state.value,
        why(item),
    )


def counted(states: Sequence[ExperimentState]) -> str:
    """How many experiments are at home and how many are not, in one line."""
    overview = overview_of(states)
    parts = [f"{number:,} {state.value}" for state, number in overview.counts.items()]
    return f"{count(len(states), 'experiment')}: {', '.join(parts)}"
