"""Plans, reports and states as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asynchy.catalogue.figures import Figures, Share
from asynchy.catalogue.sightings import Unseen
from asynchy.catalogue.store import CopyStatus
from asynchy.domain.attempt import Attempt, ServiceState, Verdict
from asynchy.domain.experiment import Kind
from asynchy.domain.text import count, duration, moment, shown, size
from asynchy.plan.outcome import LeftOut, Plan, Transfer
from asynchy.service.bring import Outcome
from asynchy.service.walk import Seen, Walked
from asynchy.service.work import Report

_NAMED = 10
_WIDE = 240
"""Columns where the output is no terminal: nothing is cut in a file or a pipe."""


def show_plan(plan: Plan) -> None:
    """What a run would do, and what it leaves out and why."""
    if plan.transfers:
        headings = ("EPN", "Project", ">Files", ">Size", ">To fetch", "Why", "To")
        _table(headings, map(_transfer_row, plan.transfers))
    else:
        _say("Nothing to transfer.")
    _show_left_out(plan)


def show_report(report: Report) -> None:
    """What a run did."""
    if report.outcomes:
        headings = ("EPN", "Project", "Result", ">Moved", ">Took")
        _table(headings, map(_outcome_row, report.outcomes))
    else:
        _say("Nothing to transfer.")
    _show_left_out(report.plan)
    complete = sum(outcome.complete for outcome in report.outcomes)
    due = len(report.outcomes) - complete
    due += sum(item.reason.stays_due for item in report.plan.left_out)
    _say(f"\n{count(complete, 'experiment')} completed, {due} still due.")
    _list("State that needs a look:", report.problems)
    _list("Defects of asynchy, please report:", report.defects)


def _show_left_out(plan: Plan) -> None:
    if plan.left_out:
        _say("\nLeft out:\n")
        _table(("EPN", "Project", "Why", "Stays due"), map(_left_out_row, plan.left_out))
    _list("Could not be asked:", plan.problems)
    if plan.unsure:
        _say(f"\nNothing can be marked complete: {plan.unsure}.")


def show_services(services: Sequence[ServiceState]) -> None:
    """What the services are doing."""
    for service in services:
        where = f"process {service.pid} on {service.host}"
        if service.alive:
            _say(f"{service.name} runs since {moment(service.since)} ({where}): {service.doing}")
        else:
            _say(f"{service.name} does not run; last heard {moment(service.heartbeat)} ({where})")
        if service.trouble:
            _say(f"  latest cycle: {shown(service.trouble)}")
        _say("")


def show_status(copies: Sequence[CopyStatus]) -> None:
    """Every copy and what is known of it."""
    if not copies:
        _say("The catalogue knows no copies yet.")
        return
    headings = (
        "EPN", "Beamline", "Project", "State", ">Files", ">Size", ">Attempts", "Destination",
    )  # fmt: skip
    _table(headings, map(_status_row, copies))


def show_attempts(attempts: Sequence[tuple[str, Attempt]]) -> None:
    """Every attempt for an EPN, and the last words of the latest one."""
    headings = (
        "Started", ">Took", "Verdict", "Engine", "Check", ">Exit code", ">Files", ">Bytes",
        "Reason",
    )  # fmt: skip
    for destination in dict.fromkeys(destination for destination, _ in attempts):
        _say(f"\nAttempts to {shown(destination)}:\n")
        _table(headings, (_attempt_row(tried) for to, tried in attempts if to == destination))
    if attempts and attempts[-1][1].stderr:
        _list("Last words of the latest attempt:", attempts[-1][1].stderr.splitlines())


def show_mapping(mapping: Mapping[str, str]) -> None:
    """Every proposal and its project."""
    if not mapping:
        _say("No proposal belongs to a project yet.")
        return
    _table((">Proposal", "Project"), sorted(mapping.items(), key=lambda item: int(item[0])))


def show_figures(catalogue: Path, found: Figures) -> None:
    """How much the catalogue knows."""
    total = found.total
    _say(
        f"{catalogue} ({size(found.database)}) knows {count(total.experiments, 'experiment')}, "
        f"{count(total.files, 'file')}, {size(total.bytes)}; complete: {total.complete:,}, "
        f"no longer at the facility: {found.vanished:,}."
    )
    walk = found.last_walk
    if walk is not None:
        ended = f"ended {moment(walk.ended)}" if walk.ended else "not ended"
        bad = f", {count(walk.problems, 'folder')} not listed" if walk.problems else ""
        _say(f"Latest walk: {shown(walk.origin)}, begun {moment(walk.started)}, {ended}{bad}.")
    for heading, shares in (("Beamline", found.beamlines), ("Year", found.years)):
        if shares:
            _say("")
            headings = (heading, ">Experiments", ">Files", ">Size", ">Complete")
            _table(headings, map(_share_row, shares))


def show_walk(walked: Walked) -> None:
    """What a walk found, what changed since the one before, and what it could not list."""
    new = [item for item in walked.seen if item.new]
    changed = [item for item in walked.seen if item.changes.any and not item.new]
    if changed:
        _say("Changed since they were last walked:\n")
        headings = ("EPN", "Beamline", ">Files", ">Size", ">New", ">Changed", ">Vanished")
        _table(headings, map(_seen_row, changed))
        _say("")
    files = sum(item.changes.files for item in walked.seen)
    in_bytes = sum(item.changes.bytes for item in walked.seen)
    before = f" ({walked.before:,} more before it was stopped)" if walked.before else ""
    _say(
        f"{count(len(walked.seen), 'experiment')} listed{before}, {count(files, 'file')}, "
        f"{size(in_bytes)}, in {duration(walked.seconds)}: {len(new):,} new, "
        f"{len(changed):,} changed, {len(walked.gone):,} no longer there."
    )
    left = [
        (walked.left[Kind.SYMLINK], "symbolic link"),
        (walked.left[Kind.SPECIAL], "special file"),
    ]
    if any(number for number, _ in left):
        told = " and ".join(count(number, noun) for number, noun in left if number)
        _say(f"Not taken, and not followed: {told}.")
    _list("No longer at the facility:", _first(list(map(_gone, walked.gone))))
    _list("Asked for and not at the facility:", _first([epn.text for epn in walked.absent]))
    if walked.bad:
        _list(
            f"{count(walked.bad, 'folder')} could not be listed; what was known of them stays:",
            _first(list(map(str, walked.problems)), of=walked.bad),
        )


def _first(lines: Sequence[str], *, of: int | None = None) -> Sequence[str]:
    """Ten lines, and how many more there are."""
    more = (of or len(lines)) - len(lines[:_NAMED])
    return [*lines[:_NAMED], *([f"and {more:,} more"] if more else [])]


def _gone(item: Unseen) -> str:
    told = "complete at home" if item.complete else "NEVER COMPLETE AT HOME"
    return f"{item.located.source} ({told})"


def _seen_row(item: Seen) -> Sequence[str]:
    changes = item.changes
    return (
        item.located.experiment.epn.text,
        item.located.experiment.beamline or "-",
        f"{changes.files:,}",
        size(changes.bytes),
        f"{changes.new:,}",
        f"{changes.changed:,}",
        f"{changes.vanished:,}",
    )


def _share_row(share: Share) -> Sequence[str]:
    return (
        share.name or "not known",
        f"{share.experiments:,}",
        f"{share.files:,}",
        size(share.bytes),
        f"{share.complete:,}",
    )


def state(copy: CopyStatus) -> str:
    """The state of a copy in a few words."""
    claim, last = copy.claim, copy.last
    if claim is not None:
        return f"process {claim.pid} on {claim.host} at work since {moment(claim.since)}"
    if copy.completed is not None and (last is None or last.verdict is Verdict.COMPLETE):
        return f"complete {moment(copy.completed)}"
    if last is None:
        return "not fetched yet"
    return f"due: {last.reason or last.verdict.value} ({moment(last.ended)})"


def _transfer_row(transfer: Transfer) -> Sequence[str]:
    copy, survey = transfer.copy, transfer.survey
    return (
        copy.epn.text,
        copy.project,
        f"{survey.files:,}",
        size(survey.bytes),
        f"{count(survey.missing_files, 'file')}, {size(survey.missing_bytes)}",
        transfer.why.value,
        str(copy.destination),
    )


def _left_out_row(item: LeftOut) -> Sequence[str]:
    stays = "yes" if item.reason.stays_due else "-"
    return item.epn.text, item.project or "-", str(item), stays


def _outcome_row(outcome: Outcome) -> Sequence[str]:
    hint = f" ({outcome.hint})" if outcome.hint else ""
    result = "complete" if outcome.complete else f"due: {outcome.reason}{hint}"
    moved = f"{count(outcome.files, 'file')}, {size(outcome.bytes)}"
    return outcome.copy.epn.text, outcome.copy.project, result, moved, duration(outcome.seconds)


def _status_row(copy: CopyStatus) -> Sequence[str]:
    return (
        copy.epn,
        copy.beamline,
        copy.project,
        state(copy),
        "-" if copy.files is None else f"{copy.files:,}",
        "-" if copy.bytes is None else size(copy.bytes),
        str(copy.attempts),
        copy.destination,
    )


def _attempt_row(attempt: Attempt) -> Sequence[str]:
    return (
        moment(attempt.started),
        duration((attempt.ended - attempt.started).total_seconds()),
        attempt.verdict.value,
        attempt.engine or "-",
        attempt.check or "-",
        "-" if attempt.exit_code is None else str(attempt.exit_code),
        "not known" if attempt.files is None else f"{attempt.files:,}",
        "not known" if attempt.bytes is None else size(attempt.bytes),
        attempt.reason or "-",
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a heading that begins with `>` is over numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        justify = "right" if heading.startswith(">") else "left"
        made.add_column(heading.lstrip(">"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        made.add_row(*(Text(shown(cell)) for cell in row))
    _console().print(made)


def _list(heading: str, lines: Sequence[str]) -> None:
    if lines:
        _say("\n".join(["", heading, *(f"  {shown(line)}" for line in lines)]))


def _say(text: str) -> None:
    _console().print(text)


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, highlight=False, markup=False)
