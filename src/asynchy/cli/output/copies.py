"""What the catalogue knows, as tables for people: services, copies, attempts and checks.

It stands apart from the tables of what a run did: `asynchy status` need not load all that can run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from asynchy.cli.output.tables import bullets, columns, line, table
from asynchy.model.attempt import Attempt, ServiceState, Verdict
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.event import Event
from asynchy.model.experiment import Experiment, LeftOutCounts
from asynchy.model.formatting import count, duration, escaped, moment, size
from asynchy.model.safety import damage_words, edited_words, name_of
from asynchy.model.verification import Check

_WIDE_ENOUGH = 130
"""Columns from which on a table of copies has their destinations, too."""


def show_services(services: Sequence[ServiceState]) -> None:
    """What the services are doing."""
    for service in services:
        where = f"process {service.pid} on {service.host}"
        if service.alive:
            line(f"{service.name} runs since {moment(service.since)} ({where}): {service.doing}")
        else:
            line(
                f"{service.name} does not run; last heartbeat {moment(service.heartbeat)} ({where})"
            )
        if service.trouble:
            line(f"  latest cycle: {escaped(service.trouble)}")
        line("")


def show_status(copies: Sequence[CopyRecord], not_due: Collection[Experiment] = ()) -> None:
    """Every copy and what is known of it; `not_due`: experiments that nobody has to fetch."""
    if not copies:
        line("The catalogue knows no copies yet.")
        return
    headings = ["EPN", "Beamline", "Project", "State", "Proven", ">Files", ">Size", "Destination"]
    # On a narrow terminal nothing else could be read beside a path.
    shown_ones = len(headings) if columns() >= _WIDE_ENOUGH else len(headings) - 1
    table(headings[:shown_ones], (_status_row(copy, not_due)[:shown_ones] for copy in copies))


def show_places(copies: Sequence[CopyRecord]) -> None:
    """Every copy, and whether it is at its place."""
    if not copies:
        line("The catalogue knows no copies yet.")
        return
    table(("EPN", "State", "Destination"), map(_place_row, copies))


def show_attempts(attempts: Sequence[tuple[str, Attempt]]) -> None:
    """Every attempt for an EPN, and the last words of the latest one."""
    headings = (
        "Started", ">Took", "Verdict", "Engine", "Check", ">Exit code", ">Files", ">Bytes",
        "Reason",
    )  # fmt: skip
    for destination in dict.fromkeys(destination for destination, _ in attempts):
        line(f"\nAttempts to {escaped(destination)}:\n")
        table(headings, (_attempt_row(tried) for to, tried in attempts if to == destination))
    if attempts and attempts[-1][1].stderr:
        bullets("Last words of the latest attempt:", attempts[-1][1].stderr.splitlines())


def state(copy: CopyRecord, *, is_due: bool = True) -> str:
    """The state of a copy in a few words; `is_due`: its experiment has to be fetched."""
    claim, last = copy.claim, copy.last
    if claim is not None:
        return f"process {claim.pid} on {claim.host} at work since {moment(claim.since)}"
    if (wrong := _wrong(copy)) is not None:
        return f"due: {wrong}"
    # A verification that found it complete after a failed attempt is no attempt of its own.
    if copy.completed is not None and not (copy.unfinished and is_due):
        edited = f"; {edited_words(copy)}" if copy.edited else ""
        return f"complete {moment(copy.completed)}{edited}{left_out_words(copy.left_out)}"
    if last is None:
        return "not fetched yet"
    if last.verdict is Verdict.COMPLETE:  # a person wants it fetched again
        return "due: to be fetched again"
    begin = "due" if is_due else "not complete"
    return f"{begin}: {last.reason or last.verdict.value} ({moment(last.ended)})"


def left_out_words(counts: LeftOutCounts | None) -> str:
    """What is said beside "complete" of what is left out; empty: nothing is."""
    found = "not counted" if counts is None else str(counts)
    return f"; left out: {found}" if found else ""


def _wrong(copy: CopyRecord) -> str | None:
    """What is wrong with a copy that was complete; None: nothing is known."""
    if copy.was_complete and copy.presence is not Presence.THERE:
        return f"its folder {copy.presence.value}; see `asynchy copies`"
    if copy.is_damaged and not copy.unfinished:
        return f"{damage_words(copy)}; `asynchy verify` repairs that, or says what is in the way"
    if copy.suspect and (copy.last is None or copy.last.verdict is Verdict.COMPLETE):
        return "files are missing, or differ from the facility's"
    return None


def proven(copy: CopyRecord) -> str:
    """How well it is proven that the copy holds what the facility does, in a few words."""
    if copy.is_damaged:
        return damage_words(copy).removesuffix(" at home")
    if copy.completed is None:
        return "-"
    if copy.edited:
        return f"{count(copy.edited, 'file')} edited"
    return copy.level.word if copy.level else "not known"


def show_checks(checks: Sequence[tuple[str, Check]]) -> None:
    """Every verification and audit of an EPN's copies."""
    headings = ("Started", ">Took", "Check", "Way", ">Files", ">Size", "Found", "Reason")
    for destination in dict.fromkeys(destination for destination, _ in checks):
        line(f"\nChecks of {escaped(destination)}:\n")
        table(headings, (_check_row(check) for of, check in checks if of == destination))


def show_events(events: Sequence[Event]) -> None:
    """What became of the experiments of an EPN, beside attempts and checks."""
    bullets(
        "History:",
        [
            f"{moment(one.at)}: {name_of(one.experiment)} {one.kind.value}"
            + (f": {escaped(one.detail)}" if one.detail else "")
            for one in events
        ],
    )


def found(check: Check) -> str:
    """What a check found, as text for people."""
    wrong = {
        "different": check.different,
        "changed at home": check.edited,
        "missing": check.missing,
        "extra": check.extra,
    }
    words = [f"{number:,} {what}" for what, number in wrong.items() if number]
    if not words:
        words = ["nothing wrong" if check.reason is None else "nothing wrong in what was read"]
    if check.digested:
        words.append(f"first digest of {count(check.digested, 'file')}")
    return ", ".join(words)


def _status_row(copy: CopyRecord, not_due: Collection[Experiment]) -> Sequence[str]:
    return (
        copy.copy.epn.text,
        copy.copy.experiment.beamline,
        copy.copy.project,
        state(copy, is_due=copy.copy.experiment not in not_due),
        proven(copy),
        "-" if copy.files is None else f"{copy.files:,}",
        "-" if copy.bytes is None else size(copy.bytes),
        str(copy.copy.destination),
    )


def _place_row(copy: CopyRecord) -> Sequence[str]:
    return name_of(copy.copy.experiment), state(copy), str(copy.copy.destination)


def _check_row(check: Check) -> Sequence[str]:
    return (
        moment(check.started),
        duration((check.ended - check.started).total_seconds()),
        check.kind,
        check.way,
        f"{check.files:,}",
        size(check.bytes),
        found(check),
        check.reason or "",
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
