"""Plans, and what runs did, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asynchy.catalogue import Catalogue
from asynchy.cli.show_copies import found, proven
from asynchy.cli.show_state import show_quiet
from asynchy.cli.tables import bullets, line, once_a_mount, table
from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.experiment import Copy
from asynchy.domain.level import Check
from asynchy.domain.text import count, duration, size
from asynchy.kept_files import MISMATCH, folder_beside
from asynchy.plan.outcome import Left, LeftOut, Plan, Transfer
from asynchy.receipt.bag import ODD_NAMES
from asynchy.receipt.crate import level_word
from asynchy.service.audit import Audited
from asynchy.service.bring import Outcome
from asynchy.service.receipt import Receipt
from asynchy.service.work import Report


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
