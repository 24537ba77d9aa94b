"""What was done in a span, in sentences: for the terminal and for mails. Pure."""

from __future__ import annotations

from asynchy.model.formatting import count, duration, size
from asynchy.reporting.activity import Activity, CheckTotals, CopyNews

_WORDS = {
    CopyNews.CAME: "came home",
    CopyNews.ADOPTED: "adopted",
    CopyNews.MORE: "with more files",
    CopyNews.SAME: "with nothing new",
    CopyNews.INCOMPLETE: "not complete",
}


def outcome(found: Activity) -> str:
    """What became of how many experiments, without a full stop."""
    if not found.copies:
        return "No transfer ended"
    numbers = [(found.number(news), words) for news, words in _WORDS.items()]
    (number, words), *more = [one for one in numbers if one[0]]
    first = f"{count(number, 'experiment')} {words}"
    return ", ".join([first, *(f"{number:,} {words}" for number, words in more)])


def transfers(found: Activity) -> str:
    """What became of how many experiments, how much was moved and how fast, what failed."""
    return f"{outcome(found)}. {amounts(found)}".rstrip()


def amounts(found: Activity) -> str:
    """How much was moved and how fast, and what failed; empty: nothing of both."""
    said = []
    if found.bytes:
        rate = f" ({size(int(found.rate))}/s)" if found.rate else ""
        took = duration(found.seconds)
        said.append(f"{count(found.files, 'file')}, {size(found.bytes)} in {took}{rate}.")
    if failed := sum(one.failed for one in found.copies):
        said.append(f"{count(failed, 'attempt')} failed.")
    return " ".join(said)


def checks(found: Activity) -> list[str]:
    """What was verified and audited, a sentence each; empty: nothing was."""
    kinds = (("verified", found.verified), ("audited", found.audited))
    return [_checked(words, totals) for words, totals in kinds if totals.checks]


def not_complete(found: Activity) -> list[str]:
    """Why copies are not complete, a sentence each."""
    return [f"{one.experiment.epn}: {one.reason}" for one in found.copies if one.reason]


def _checked(words: str, totals: CheckTotals) -> str:
    wrong = (
        f"{count(totals.wrong, 'copy', 'copies')} with damaged or missing files"
        if totals.wrong
        else "nothing wrong"
    )
    unfinished = f"; {totals.unfinished:,} not finished" if totals.unfinished else ""
    read = f"{count(totals.files, 'file')}, {size(totals.bytes)}"
    return f"{totals.checks:,} {words}: {read}, {wrong}{unfinished}."
