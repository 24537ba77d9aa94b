"""Plans, and what runs did, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asynchy.catalogue import Catalogue
from asynchy.cli.output.copies import found, left_out_words, proven
from asynchy.cli.output.states import show_quiet
from asynchy.cli.output.tables import bullets, line, once_a_mount, table
from asynchy.copying.fetch import Outcome
from asynchy.localfs.kept_files import MISMATCH, folder_beside
from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment import Copy
from asynchy.model.formatting import count, duration, size
from asynchy.model.plan import Plan, PlannedTransfer, Skipped, SkipReason
from asynchy.model.verification import Check
from asynchy.receipts.bag import ODD_NAMES
from asynchy.receipts.crate import level_word
from asynchy.receipts.writer import Receipt
from asynchy.repatriation.executor import RunReport
from asynchy.verification.audit import AuditResult


def show_plan(plan: Plan, rate: float | None = None) -> None:
    """What a run would do, and what it leaves out and why.

    `rate`: bytes a second of earlier transfers; None: not known.
    """
    if plan.transfers:
        headings = ("EPN", "Project", ">Files", ">Size", ">To fetch", "Why", "To")
        table(headings, map(_transfer_row, plan.transfers))
    else:
        line("Nothing to transfer.")
    _show_left_out(plan)
    _show_beyond(plan)
    in_all = f"{_in_all(plan.transfers, rate)} " if plan.transfers else ""
    line(f"\n{in_all}Nothing was changed: this is the plan.")


def _show_beyond(plan: Plan) -> None:
    if plan.beyond_limit:
        more = count(plan.beyond_limit, "more experiment is", "more experiments are")
        line(f"\n{more} due, beyond --limit: run it again, or raise the limit.")


def _in_all(transfers: Sequence[PlannedTransfer], rate: float | None) -> str:
    missing = [transfer.listing_diff for transfer in transfers]
    total = sum(one.missing_bytes for one in missing)
    files = count(sum(one.missing_files for one in missing), "file")
    said = f"In all: {count(len(transfers), 'experiment')}, {files}, {size(total)} to fetch"
    if rate is None:
        return f"{said}."
    return f"{said}, about {duration(total / rate)} at {size(int(rate))}/s, as in the last weeks."


def show_report(report: RunReport) -> None:
    """What a run did."""
    if report.outcomes:
        headings = ("EPN", "Project", "Result", ">Moved", ">Took")
        table(headings, map(_outcome_row, report.outcomes))
    else:
        line("Nothing to transfer.")
    _show_left_out(report.plan, after_run=True)
    complete = sum(outcome.complete for outcome in report.outcomes)
    due = len(report.outcomes) - complete
    due += sum(item.reason.stays_due for item in report.plan.left_out) + report.plan.beyond_limit
    _show_beyond(report.plan)
    line(f"\n{count(complete, 'experiment')} completed, {due} still due.")
    bullets("Needs a look:", report.attention)
    bullets("State that needs a look:", report.problems)
    bullets("Defects of asynchy, please report:", report.defects)


def show_verified(report: RunReport, catalogue: Catalogue, since: datetime) -> None:
    """What was proven of copies since a time, and how."""
    made = {outcome: _checks(outcome.copy, catalogue, since) for outcome in report.outcomes}
    if made:
        headings = ("EPN", "Project", "Result", "Proven", "How", ">Compared", ">Took")
        table(headings, (_verified_row(item, checks, catalogue) for item, checks in made.items()))
    else:
        line("Nothing to verify.")
    _show_left_out(report.plan, after_run=True)
    aside = [
        str(folder_beside(outcome.copy, MISMATCH))
        for outcome, checks in made.items()
        if any(check.different for check in checks)
    ]
    bullets("Kept aside, because it differed:", aside)
    bullets("Needs a look:", report.attention)
    bullets("State that needs a look:", report.problems)
    bullets("Defects of asynchy, please report:", report.defects)


def _checks(copy: Copy, catalogue: Catalogue, since: datetime) -> list[Check]:
    return [
        check
        for destination, check in catalogue.history.checks_of(copy.epn.text)
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
        f"complete{fetched}{left_out_words(outcome.left_out)}"
        if outcome.complete
        else f"due: {outcome.reason}",
        "-" if record is None else proven(record),
        ", ".join(dict.fromkeys(check.way for check in checks)) or "-",
        f"{count(files, 'file')}, {size(total)}" if checks else "-",
        duration(outcome.seconds),
    )


def show_audited(results: Sequence[AuditResult]) -> None:
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


def _audited_row(result: AuditResult) -> Sequence[str]:
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


def _show_left_out(plan: Plan, *, after_run: bool = False) -> None:
    if plan.left_out:
        line("\nLeft out:\n")
        rows = ((item.reason, item.detail, _left_out_row(item)) for item in plan.left_out)
        table(("EPN", "Beamline", "Project", "Why", "Stays due"), once_a_mount(rows))
    show_quiet(plan.states, plan.notices, after_run=after_run)
    bullets("Could not be asked:", [*plan.problems, *plan.unlisted])
    if plan.unsure:
        line(f"\nNothing can be marked complete: {plan.unsure}.")


def _transfer_row(transfer: PlannedTransfer) -> Sequence[str]:
    copy, listing_diff = transfer.copy, transfer.listing_diff
    return (
        copy.epn.text,
        copy.project,
        f"{listing_diff.files:,}",
        size(listing_diff.bytes),
        f"{count(listing_diff.missing_files, 'file')}, {size(listing_diff.missing_bytes)}",
        transfer.why.value,
        str(copy.destination),
    )


def _left_out_row(item: Skipped) -> Sequence[str]:
    stays = "yes" if item.reason.stays_due else "-"
    if item.reason is SkipReason.UNMAPPED:
        stays = "needs a project (map add)"
    return item.epn.text, item.experiment.beamline, item.project or "-", str(item), stays


def _outcome_row(outcome: Outcome) -> Sequence[str]:
    hint = f" ({outcome.hint})" if outcome.hint else ""
    result = f"due: {outcome.reason}{hint}"
    if outcome.complete:
        result = f"complete{left_out_words(outcome.left_out)}"
    moved = f"{count(outcome.files, 'file')}, {size(outcome.bytes)}"
    return outcome.copy.epn.text, outcome.copy.project, result, moved, duration(outcome.seconds)
