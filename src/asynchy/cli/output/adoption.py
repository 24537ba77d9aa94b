"""What `asynchy adopt` found, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asynchy.cli.output.tables import bullets, line
from asynchy.model.formatting import count
from asynchy.model.plan import PlannedTransfer, Skipped, SkipReason
from asynchy.model.safety import name_of
from asynchy.repatriation.adoption import AdoptionResult
from asynchy.repatriation.home_comparison import difference_words


def show_adoption(result: AdoptionResult, *, dry_run: bool) -> None:
    """What is complete, what is not, and what could not be compared; at the end in numbers."""
    plan = result.report.plan
    bullets("Not complete at home; the next run fetches the rest:", _lacking(result.incomplete))
    bullets(
        "Not complete at home, and skipped by an entry of ignore.yml; remove it to have the rest "
        "fetched:",
        _lacking(result.skipped),
    )
    bullets(
        "Not complete at the place of another project; the next cycle fetches all of it to where "
        "epn_cap_map says:",
        _lacking(result.elsewhere),
    )
    bullets(
        "Complete at home, but not recorded; run it again:",
        [f"{name_of(item.copy.experiment)}: {reason}" for item, reason in result.unrecorded],
    )
    bullets("Not compared:", list(_left_out(plan.left_out)))
    bullets(
        "Not at home; adopt fetches nothing. If ignore.yml lists an EPN, remove the entry to have "
        "it fetched, or release it with `asynchy copies forget`:",
        result.absent,
    )
    bullets(
        "Folders of projects that are missing, empty or cannot be read; mount them and run it "
        "again:",
        [str(path) for path in result.unreadable_folders],
    )
    bullets("At home, and passed over:", list(map(str, result.odd)))
    bullets("Could not be asked:", [*plan.problems, *plan.unlisted])
    bullets("Needs a look:", result.report.attention)
    bullets("State that needs a look:", result.report.problems)
    bullets("Defects of asynchy, please report:", result.report.defects)
    line(f"\n{_numbers(result)}.")
    if dry_run:
        line("Nothing was recorded.")


def _lacking(items: Iterable[PlannedTransfer]) -> list[str]:
    return [
        f"{name_of(one.copy.experiment)}: {difference_words(one.listing_diff)} in "
        f"{one.copy.destination}"
        for one in items
    ]


def _left_out(items: Iterable[Skipped]) -> Iterator[str]:
    """A line for each; one alone for all that could not be asked."""
    unreachable = 0
    for item in items:
        if item.reason is SkipReason.UNREACHABLE:
            unreachable += 1
        else:
            yield f"{name_of(item.experiment)}: {item}"
    if unreachable:
        yield f"{count(unreachable, 'experiment')}: {SkipReason.UNREACHABLE.text}"


def _numbers(result: AdoptionResult) -> str:
    plan = result.report.plan
    lacking = len(result.incomplete) + len(result.skipped) + len(result.elsewhere)
    parts = [
        f"{count(len(result.complete), 'experiment')} complete",
        f"{result.known:,} recorded before",
        f"{lacking:,} not complete",
        f"{len(plan.left_out) + len(result.unrecorded):,} not compared or recorded",
        f"{len(result.absent):,} not at home",
    ]
    return ", ".join(parts)
