"""Decides how an attempt ended, from the engine's result and the listings before and after."""

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
    """The reason if folders could not be listed at the facility; it names the first."""
    number = count(len(folders), "folder")
    prefix = "" if len(folders) == 1 else "the first of them "
    return (
        f"{number} could not be listed at the facility, so that its content is not known: "
        f"{prefix}{folders[0]} ({folders[0].to_do})"
    )


def judge(
    result: EngineResult, before: ListingDiff, after: ListingDiff | None, *, unsure: str | None
) -> Judgement:
    """The verdict on one attempt.

    `after` is the listing after the transfer, None if none was made; `unsure` is why the copy
    may not be marked complete even if all of it arrived, None if it may.
    """
    if result.stopped:
        return Judgement(Verdict.STOPPED, "stopped; fetched data is kept")
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
        first_path, second_path = after.same_place
        message = f"{escaped(second_path, limit=200)}: {same_place_words(first_path)}"
        return Judgement(Verdict.FAILED, message)
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
    """The result of a comparison of bytes."""

    check: Check
    uncompared: int
    """Files that could not be read on one of both sides."""


def verdict_on(comparison: ComparisonResult, judgement: Judgement, *, again: bool) -> Judgement:
    """The verdict on a copy that is all at home, once its bytes were compared.

    `again`: files that differed were fetched again since.
    """
    if comparison.check.different:
        differ = "differs" if comparison.check.different == 1 else "differ"
        number = count(comparison.check.different, "file")
        also = ", also when fetched again" if again else ""
        return Judgement(Verdict.DIFFERENT, f"{number} {differ} from the facility's{also}")
    if comparison.uncompared:
        return Judgement(Verdict.FAILED, comparison.check.reason)
    return judgement


def level_of(check: str, *, compared: bool, origin_known: bool) -> Level | None:
    """The level of proof for newly recorded files of a copy that is all at home.

    `check`: the engine's check of the bytes that it received. It does not cover files that were at
    home before: `origin_known` is whether all of those were recorded. `compared`: whether size and
    time of the files at home were compared with the listing.
    """
    if check == Level.TRANSPORT.word and origin_known:
        return Level.TRANSPORT
    return Level.SIZE if compared else None


def check_made(check: str, verify: str, judgement: Judgement) -> str:
    """The check of an attempt's bytes, as it is recorded; `check` is the engine's."""
    if verify == "source" and judgement.all_at_home:
        return Level.SOURCE.word
    return "none" if verify == "none" and check == Level.SIZE.word else check
