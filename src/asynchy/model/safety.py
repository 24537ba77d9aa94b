"""Whether what the facility has of an experiment is safe at home, and what that lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asynchy.model.copy_record import CopyRecord, CopyState, Presence, newer_at_facility
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import count, size
from asynchy.model.policy import IgnoreEntry, Origin, is_of_original
from asynchy.model.verification import Level

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SafetyPolicy:
    """What must hold of a copy, and who says what is to become of an experiment."""

    level: Level | None
    """What must be proven of every file; None: that it is complete is enough."""
    epn_cap_map: Mapping[str, str] | None = None
    """Proposal -> project; None: there is no such mapping, so that none is missing in it."""
    ignored: Mapping[str, IgnoreEntry] = field(default_factory=dict)
    """The entries of `ignore.yml`, by EPN."""
    original_beamline: str | None = None
    """The beamline of the original program, whose entries are about no other; None: about all."""

    def project(self, one: ExperimentRecord) -> str | None:
        """Whose an experiment is; None: nobody has said."""
        named = [copy.copy.project for copy in one.copies if copy.copy.project]
        mapped = (self.epn_cap_map or {}).get(one.epn.proposal)
        return mapped or (named[0] if named else None)

    def is_exempt(self, one: ExperimentRecord, now: datetime) -> bool:
        """Whether a person, or an original program, said that it needs no transfer, unproven.

        What was found to differ, was completed here, or has changed since, is due all the same.
        """
        if one.is_released(now):
            return True
        if any(copy.was_complete for copy in one.copies):
            return False
        entry = self.ignored.get(one.epn.text)
        if entry is not None and entry.origin is Origin.PERSON:
            return True
        if entry is not None and entry.origin is Origin.ORIGINAL:
            return original_settles(one, entry, self.original_beamline)
        if not one.completed_elsewhere:
            return False
        return one.elsewhere_since is None or not one.touched_since(one.elsewhere_since)

    def best_copy(
        self, one: ExperimentRecord, now: datetime
    ) -> tuple[CopyRecord | None, str | None]:
        """The copy that counts most for an experiment, and what it lacks; None: nothing."""
        lacks = [(copy, lack_of(one, copy, self.level, now)) for copy in one.copies]
        for copy, lack in lacks:
            if lack is None:
                return copy, None
        if lacks:  # of those that lack something, the one that was complete last
            copy, lack = max(lacks, key=lambda item: (item[0].completed or _NEVER, item[0].id))
            if copy.was_complete or copy.unfinished:
                return copy, lack
        return None, self._unfetched(one, now)

    def _unfetched(self, one: ExperimentRecord, now: datetime) -> str:
        if self.is_exempt(one, now):
            return _said_of(one, now)
        if self.epn_cap_map is not None and one.epn.proposal not in self.epn_cap_map:
            return "belongs to no project"
        if any(copy.claim for copy in one.copies):
            return "it is being fetched"
        if any(item.visit.start <= now < item.visit.end for item in one.beamtimes):
            return "a visit is running"
        told = one.beamtimes or one.called_off or self.epn_cap_map is None
        never = "never fetched" if told else "never fetched: the portal reported no visit"
        return one.note.reason if one.note is not None else never


def original_settles(one: ExperimentRecord, entry: IgnoreEntry, beamline: str | None) -> bool:
    """Whether an original program's entry in `ignore.yml` still says that nothing is to be done.

    What was completed or compared here since is for asynchy to judge.
    """
    ours = any(copy.was_complete or copy.was_compared for copy in one.copies)
    covered = is_of_original(one.experiment, beamline)
    return covered and not ours and not one.touched_since(entry.since)


def _said_of(one: ExperimentRecord, now: datetime) -> str:
    """Who said that an experiment needs no transfer."""
    if one.is_released(now):
        return f"released by a person: {one.release_reason or 'no reason was given'}"
    said = "an original's database" if one.completed_elsewhere else "ignore.yml"
    return f"{said} calls it fetched; it was never verified"


def lack_of(
    one: ExperimentRecord, copy: CopyRecord, level: Level | None, now: datetime
) -> str | None:
    """Why a copy does not stand for all that the facility has, for people; None: it does.

    `level` must be proven of every file; None: that it is complete is enough.
    """
    if copy.was_complete and copy.presence is not Presence.THERE:
        return f"its folder at home {copy.presence.value}"
    if copy.suspect:
        return CopyState.SUSPECT.value
    if copy.completed is None or copy.listed is None:
        if copy.claim is not None:
            return "it is being fetched"
        return (copy.last.reason if copy.last else None) or "not complete"
    if copy.is_damaged:
        return damage_words(copy)
    newer = None
    if not is_emptied(one, copy, now):
        newer = newer_at_facility(copy.listed, one.beamtimes, one.changed, now)
    edited = None
    if copy.edited and level is not None:
        edited = f"{edited_words(copy)}: the facility's version is not at home"
    problem = one.problem if one.vanished is None else None
    return problem or newer or _unfinished(one, copy) or edited or unproven(copy.level, level)


def is_emptied(one: ExperimentRecord, copy: CopyRecord, before: datetime) -> bool:
    """Whether its folder at the facility was found without files after a copy was complete.

    A visit that has ended since, and before the time that is given, may have brought some.
    """
    if copy.completed is None or not copy.files or one.files != 0 or one.listed is None:
        return False
    last_end = one.last_end(before)
    return last_end is None or last_end <= one.listed


def damage_words(copy: CopyRecord) -> str:
    """How many of its files are missing, and how many damaged; and how many links are lost."""
    numbers = {"missing": copy.missing, "damaged": copy.damaged - copy.missing}
    found = [f"{count(number, 'file')} {what}" for what, number in numbers.items() if number]
    if copy.lost_links:
        links = count(copy.lost_links, "link or special file", "links or special files")
        found.append(f"{links} missing or changed")
    return f"{' and '.join(found)} at home"


def edited_words(copy: CopyRecord) -> str:
    """How many of its files people changed."""
    return f"{count(copy.edited, 'file was', 'files were')} changed at home"


def replaced_words(copy: CopyRecord) -> str:
    """What is kept of earlier versions of its files, a sentence without its end."""
    kept, place = copy.replaced, copy.copy.destination
    number = count(kept.files, "file")
    words = f"earlier versions of {number} ({size(kept.bytes)}) are kept beside {place}"
    if not kept.by_less:
        return words
    now = "the file in the copy now is smaller, has zeros, or is gone"
    return f"{words}; for {kept.by_less:,} of them, {now}"


def _unfinished(one: ExperimentRecord, copy: CopyRecord) -> str | None:
    if one.vanished is not None or not copy.unfinished or copy.last is None:
        return None  # of what is gone, no attempt will ever end better
    return f"the latest attempt: {copy.last.reason or copy.last.verdict.value}"


def unproven(found: Level | None, wanted: Level | None) -> str | None:
    """What a level of proof lacks, for people; None: nothing."""
    if wanted is None or (found is not None and found >= wanted):
        return None
    return f"complete, proven by {found} alone" if found else "complete, but not known how proven"


def safe_since(copy: CopyRecord, level: Level | None) -> datetime | None:
    """When the facility was listed for what a copy holds, so proven; None: it holds no such."""
    there = copy.presence is Presence.THERE
    sound = there and copy.completed is not None and not copy.suspect and not copy.is_damaged
    return copy.listed if sound and unproven(copy.level, level) is None else None


def unexpected(error: Exception) -> str:
    """What is said of an experiment that could not be judged."""
    return f"an error that asynchy did not expect: {error!r}"


def name_of(experiment: Experiment) -> str:
    """An experiment for people: `12282a (mx)`."""
    where = f" ({experiment.beamline})" if experiment.beamline else ""
    return f"{experiment.epn}{where}"


@dataclass(frozen=True)
class DeletionEvidence:
    """What is known of the files that the facility was last seen to have."""

    unproven: int
    """Files that are not at home as they are there, proven as asked."""
    files: int
    """Those that are."""
    bytes: int
    ways: tuple[str, ...]
    """How they were proven, as text for people."""
    first: datetime | None
    """When the first of them was proven; None if there are none."""
    last: datetime | None
    unlisted: int = 0
    """Folders that a walk could not list since all was last listed for the copy."""
    looked_for: int = 0
    """Files of the copy that were looked for at home, without being read."""
    absent: int = 0
    """Those of them that are missing there, or have another size or time."""
    absent_links: int = 0
    """Links and special files that were looked for at home, and are missing or lead elsewhere."""
