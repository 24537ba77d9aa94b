"""Plans, reports and states as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asynchy.catalogue import Catalogue
from asynchy.cli.show_state import show_quiet
from asynchy.cli.tables import bullets, columns, line, once_a_mount, table
from asynchy.domain.attempt import Attempt, ServiceState, Verdict
from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.experiment import Copy
from asynchy.domain.level import Check
from asynchy.domain.text import count, duration, moment, shown, size
from asynchy.kept_files import MISMATCH, folder_beside
from asynchy.plan.outcome import Left, LeftOut, Plan, Transfer
from asynchy.plan.safety import damage_words, edited_words, name_of
from asynchy.receipt.bag import ODD_NAMES
from asynchy.receipt.crate import level_word
from asynchy.service.audit import Audited
from asynchy.service.bring import Outcome
from asynchy.service.receipt import Receipt
from asynchy.service.work import Report

_WIDE_ENOUGH = 130
"""Columns from which on a table of copies has their destinations, too."""


def show_plan(plan: Plan) -> None:
    """What a run would do, and what it leaves out and why."""
    if plan.transfers:
        headings = ("EPN", "Project", ">Files", ">Size", ">To fetch", "Why", "To")
        table(headings, map(_transfer_row, plan.transfers))
    else:
        line("Nothing to transfer.")
    _show_left_out(plan)


def show_report(report: Report) -> None:
    """What a run did."""
    if report.outcomes:
        headings = ("EPN", "Project", "Result", ">Moved", ">Took")
        table(headings, map(_outcome_row, report.outcomes))
    else:
        line("Nothing to transfer.")
    _show_left_out(report.plan)
    complete = sum(outcome.complete for outcome in report.outcomes)
    due = len(report.outcomes) - complete
    due += sum(item.reason.stays_due for item in report.plan.left_out)
    line(f"\n{count(complete, 'experiment')} completed, {due} still due.")
    bullets("Needs a look:", report.attention)
    bullets("State that needs a look:", report.problems)
    bullets("Defects of asynchy, please report:", report.defects)


def show_verified(report: Report, catalogue: Catalogue, since: datetime) -> None:
    """What was proven of copies since a time, and how."""
    made = {outcome: _checks(outcome.copy, catalogue, since) for outcome in report.outcomes}
    if made:
        headings = ("EPN", "Project", "Result", "Proven", "How", ">Compared", ">Took")
        table(headings, (_verified_row(item, checks, catalogue) for item, checks in made.items()))
    else:
        line("Nothing to verify.")
    _show_left_out(report.plan)
    aside = [
        str(folder_beside(outcome.copy, MISMATCH))
        for outcome, checks in made.items()
        if any(check.different for check in checks)
    ]
    bullets("Kept aside, because it differed:", aside)
    bullets("State that needs a look:", report.problems)
    bullets("Defects of asynchy, please report:", report.defects)


def _checks(copy: Copy, catalogue: Catalogue, since: datetime) -> list[Check]:
    return [
        check
        for destination, check in catalogue.checks_of(copy.epn.text)
        if destination == str(copy.destination) and check.started >= since
    ]


def _verified_row(outcome: Outcome, checks: Sequence[Check], catalogue: Catalogue) -> Sequence[str]:
    copy = outcome.copy
    record = catalogue.copy_record(copy)
    fetched = f"; {count(outcome.files, 'file')} fetched" if outcome.files else ""
    files, total = sum(check.files for check in checks), sum(check.bytes for check in checks)
    return (
        copy.epn.text,
        copy.project,
        f"complete{fetched}" if outcome.complete else f"due: {outcome.reason}",
        "-" if record is None else proven(record),
        ", ".join(dict.fromkeys(check.way for check in checks)) or "-",
        f"{count(files, 'file')}, {size(total)}" if checks else "-",
        duration(outcome.seconds),
    )


def show_audited(results: Sequence[Audited]) -> None:
    """What an audit found, and the first of the files in which something is wrong."""
    if not results:
        line("Nothing to audit.")
        return
    headings = ("EPN", "Project", "Result", ">Read", ">Size", ">Took", "Copy")
    table(headings, map(_audited_row, results))
    for result in results:
        for what, names in result.named.items():
            bullets(f"{result.record.copy.epn}, {what}:", names)
    if any(check_is_bad(result.check) for result in results if result.check):
        line(
            "\n`asynchy verify EPN` holds a copy against the facility, and fetches again what "
            "differs or is missing."
        )
    if any(result.check.edited for result in results if result.check):
        line(
            "\nFiles that were changed at home stay as they are. `asynchy verify --restore EPN` "
            "brings the facility's back, and keeps the changed ones beside the copy."
        )


def show_receipt(kept: CopyRecord, made: Receipt) -> None:
    """What a receipt says, where it is, and what other programs will make of it."""
    epn = kept.copy.epn
    amount = f"{count(made.files, 'file')}, {size(made.bytes)}"
    line(f"{epn}: {amount}, level of proof: {level_word(made.level)}")
    line(f"Receipt: {made.folder}")
    if not made.whole:
        line("The data are elsewhere: fetch.txt names them.")
    if made.unnamed:
        names = count(made.unnamed, "name is", "names are")
        line(f"{names} no UTF-8, which BagIt cannot say: see {ODD_NAMES}")


def check_is_bad(check: Check) -> bool:
    """Whether a file has other bytes, or is missing."""
    return bool(check.different or check.missing)


def _audited_row(result: Audited) -> Sequence[str]:
    copy, check = result.record.copy, result.check
    if check is None:
        return copy.epn.text, copy.project, result.problem or "", "", "", "", str(copy.destination)
    return (
        copy.epn.text,
        copy.project,
        "; ".join(filter(None, (found(check), result.problem))),
        count(check.files, "file"),
        size(check.bytes),
        duration((check.ended - check.started).total_seconds()),
        str(copy.destination),
    )


def _show_left_out(plan: Plan) -> None:
    if plan.left_out:
        line("\nLeft out:\n")
        rows = ((item.reason, item.detail, _left_out_row(item)) for item in plan.left_out)
        table(("EPN", "Beamline", "Project", "Why", "Stays due"), once_a_mount(rows))
    show_quiet(plan.states, plan.notices)
    bullets("Could not be asked:", [*plan.problems, *plan.unlisted])
    if plan.unsure:
        line(f"\nNothing can be marked complete: {plan.unsure}.")


def show_services(services: Sequence[ServiceState]) -> None:
    """What the services are doing."""
    for service in services:
        where = f"process {service.pid} on {service.host}"
        if service.alive:
            line(f"{service.name} runs since {moment(service.since)} ({where}): {service.doing}")
        else:
            line(f"{service.name} does not run; last heard {moment(service.heartbeat)} ({where})")
        if service.trouble:
            line(f"  latest cycle: {shown(service.trouble)}")
        line("")


def show_status(copies: Sequence[CopyRecord]) -> None:
    """Every copy and what is known of it."""
    if not copies:
        line("The catalogue knows no copies yet.")
        return
    headings = ["EPN", "Beamline", "Project", "State", "Proven", ">Files", ">Size", "Destination"]
    # On a narrow terminal nothing else could be read beside a path.
    shown_ones = len(headings) if columns() >= _WIDE_ENOUGH else len(headings) - 1
    table(headings[:shown_ones], (_status_row(copy)[:shown_ones] for copy in copies))


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
        line(f"\nAttempts to {shown(destination)}:\n")
        table(headings, (_attempt_row(tried) for to, tried in attempts if to == destination))
    if attempts and attempts[-1][1].stderr:
        bullets("Last words of the latest attempt:", attempts[-1][1].stderr.splitlines())


def state(copy: CopyRecord) -> str:
    """The state of a copy in a few words."""
    claim, last = copy.claim, copy.last
    if claim is not None:
        return f"process {claim.pid} on {claim.host} at work since {moment(claim.since)}"
    if (wrong := _wrong(copy)) is not None:
        return f"due: {wrong}"
    # A verification that found it complete after a failed attempt is no attempt of its own.
    if copy.completed is not None and not copy.unfinished:
        edited = f"; {edited_words(copy)}" if copy.edited else ""
        return f"complete {moment(copy.completed)}{edited}"
    if last is None:
        return "not fetched yet"
    if last.verdict is Verdict.COMPLETE:  # a person wants it fetched again
        return "due: to be fetched again"
    return f"due: {last.reason or last.verdict.value} ({moment(last.ended)})"


def _wrong(copy: CopyRecord) -> str | None:
    """What is wrong with a copy that was complete; None: nothing is known."""
    if copy.was_complete and copy.presence is not Presence.THERE:
        return f"its folder {copy.presence.value}; see `asynchy copies`"
    if copy.damaged and not copy.unfinished:
        return f"{damage_words(copy)}; `asynchy verify` repairs that"
    if copy.suspect and (copy.last is None or copy.last.verdict is Verdict.COMPLETE):
        return "files are missing, or differ from the facility's"
    return None


def proven(copy: CopyRecord) -> str:
    """How well it is proven that the copy holds what the facility does, in a few words."""
    if copy.damaged:
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
        line(f"\nChecks of {shown(destination)}:\n")
        table(headings, (_check_row(check) for of, check in checks if of == destination))


def found(check: Check) -> str:
    """What a check found, in words."""
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
    if item.reason is Left.UNMAPPED:
        stays = "needs a project (map add)"
    return item.epn.text, item.experiment.beamline, item.project or "-", str(item), stays


def _outcome_row(outcome: Outcome) -> Sequence[str]:
    hint = f" ({outcome.hint})" if outcome.hint else ""
    result = "complete" if outcome.complete else f"due: {outcome.reason}{hint}"
    moved = f"{count(outcome.files, 'file')}, {size(outcome.bytes)}"
    return outcome.copy.epn.text, outcome.copy.project, result, moved, duration(outcome.seconds)


def _status_row(copy: CopyRecord) -> Sequence[str]:
    return (
        copy.copy.epn.text,
        copy.copy.experiment.beamline,
        copy.copy.project,
        state(copy),
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
