"""How an attempt ended, from what the engine did and what was listed before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asynchy.model.attempt import EngineResult, Verdict
from asynchy.model.experiment import ListingDiff, Unlisted, same_place_words
from asynchy.model.formatting import count, escaped
from asynchy.model.verification import Check, Level


@dataclass(frozen=True)
class Judgement:
    """A verdict and, unless it is "complete", the reason."""

    verdict: Verdict
    reason: str | None = None

    @property
    def all_at_home(self) -> bool:
        """Whether everything that was listed is at home."""
        return self.verdict in (Verdict.COMPLETE, Verdict.TRANSFERRED)


def unlisted_words(folders: Sequence[Unlisted]) -> str:
    """That folders could not be listed at the facility, the first of them by name."""
    number = count(len(folders), "folder")
    first = "" if len(folders) == 1 else "the first of them "
    return (
        f"{number} could not be listed at the facility, so that what is in it is not known: "
        f"{first}{folders[0]} ({folders[0].to_do})"
    )


def judge(
    result: EngineResult, before: ListingDiff, after: ListingDiff | None, *, unsure: str | None
) -> Judgement:
    """The verdict on one attempt.

    `after` is the listing after the transfer, None if none was made; `unsure` is why the copy
    may not be marked complete even if all of it arrived, None if it may.
    """
    if result.stopped:
        return Judgement(Verdict.STOPPED, "stopped; what was fetched is kept")
    if not result.ok and not result.vanished:
        reasons = [result.reason] if result.reason else []
        reasons += [unlisted_words(before.unlisted)] if before.unlisted else []
        return Judgement(Verdict.FAILED, "; ".join(reasons) or None)
    if after is None:
        return Judgement(Verdict.FAILED, "it could not be listed again after the transfer")
    return _compared(result, before, after, unsure)


def _compared(
    result: EngineResult, before: ListingDiff, after: ListingDiff, unsure: str | None
) -> Judgement:
    if result.vanished or after.fingerprint != before.fingerprint:
        return Judgement(Verdict.CHANGED, "it changed at the facility while it was fetched")
    if after.same_place is not None:
        one, other = after.same_place
        words = f"{escaped(other, limit=200)}: {same_place_words(one)}"
        return Judgement(Verdict.FAILED, words)
    missing = after.missing_files + after.missing_folders
    if missing:
        return Judgement(
            Verdict.FAILED, f"{count(missing, 'listed file')} or folders are not at home as listed"
        )
    if after.unlisted:
        return Judgement(Verdict.FAILED, unlisted_words(after.unlisted))
    if unsure:
        return Judgement(Verdict.TRANSFERRED, f"transferred, but not marked complete: {unsure}")
    return Judgement(Verdict.COMPLETE)


@dataclass(frozen=True)
class ComparisonResult:
    """What came of a comparison of bytes."""

    check: Check
    uncompared: int
    """Files that could not be read on one of both sides."""


def verdict_on(proof: ComparisonResult, judgement: Judgement, *, again: bool) -> Judgement:
    """The verdict on a copy that is all at home, once its bytes were compared.

    `again`: files that differed were fetched again since.
    """
    if proof.check.different:
        differ = "differs" if proof.check.different == 1 else "differ"
        number = count(proof.check.different, "file")
        also = ", also when fetched again" if again else ""
        return Judgement(Verdict.DIFFERENT, f"{number} {differ} from the facility's{also}")
    if proof.uncompared:
        return Judgement(Verdict.FAILED, proof.check.reason)
    return judgement


def level_of(check: str, *, looked: bool, origin_known: bool) -> Level | None:
    """What is proven of files that a copy was not known to hold, once all of it is at home.

    `check` is what the engine checked of the bytes that it received. It says nothing of files that
    were there before it began: `origin_known` is whether each of those was known to be held.
    `looked`: whether size and time of what is at home were compared with the listing.
    """
    if check == Level.TRANSPORT.word and origin_known:
        return Level.TRANSPORT
    return Level.SIZE if looked else None


def check_made(check: str, verify: str, judgement: Judgement) -> str:
    """What was checked of the bytes of an attempt, as it is recorded; `check` is the engine's."""
    if verify == "source" and judgement.all_at_home:
        return Level.SOURCE.word
    return "none" if verify == "none" and check == Level.SIZE.word else check
