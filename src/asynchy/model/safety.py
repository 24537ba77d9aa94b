"""Whether the data of an experiment are safe at home, or why they are not."""

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
    """The requirements on a copy, and the sources of decisions on an experiment."""

    level: Level | None
    """The level that every file must have; None: a complete copy is enough."""
    epn_cap_map: Mapping[str, str] | None = None
    """Proposal -> project; None: there is no mapping, so that no proposal is missing."""
    ignored: Mapping[str, IgnoreEntry] = field(default_factory=dict)
    """The entries of `ignore.yml`, by EPN."""
    original_beamline: str | None = None
    """The beamline of the original program, whose entries are about no other; None: about all."""

    def project(self, record: ExperimentRecord) -> str | None:
        """The project of an experiment; None: none is assigned."""
        named = [copy.copy.project for copy in record.copies if copy.copy.project]
        mapped = (self.epn_cap_map or {}).get(record.epn.proposal)
        return mapped or (named[0] if named else None)

    def is_exempt(self, record: ExperimentRecord, now: datetime) -> bool:
        """Whether a person, or an original program, has exempted it from transfer, without proof.

        Not if it differed, was completed here, or has changed since.
        """
        if record.is_released(now):
            return True
        if any(copy.was_complete for copy in record.copies):
            return False
        entry = self.ignored.get(record.epn.text)
        if entry is not None and entry.origin is Origin.PERSON:
            return True
        if entry is not None and entry.origin is Origin.ORIGINAL:
            return original_settles(record, entry, self.original_beamline)
        if not record.completed_elsewhere:
            return False
        return record.elsewhere_since is None or not record.touched_since(record.elsewhere_since)

    def best_copy(
        self, record: ExperimentRecord, now: datetime
    ) -> tuple[CopyRecord | None, str | None]:
        """The best copy of an experiment, and what it lacks; None: nothing."""
        lacks = [(copy, lack_of(record, copy, self.level, now)) for copy in record.copies]
        for copy, lack in lacks:
            if lack is None:
                return copy, None
        if lacks:  # of those that lack something, the one that was complete last
            copy, lack = max(lacks, key=lambda item: (item[0].completed or _NEVER, item[0].id))
            if copy.was_complete or copy.unfinished:
                return copy, lack
        return None, self._unfetched(record, now)

    def _unfetched(self, record: ExperimentRecord, now: datetime) -> str:
        if self.is_exempt(record, now):
            return _exemption_source(record, now)
        if self.epn_cap_map is not None and record.epn.proposal not in self.epn_cap_map:
            return "belongs to no project"
        if any(copy.claim for copy in record.copies):
            return "it is being fetched"
        if any(item.visit.start <= now < item.visit.end for item in record.beamtimes):
            return "a visit is running"
        reported = record.beamtimes or record.called_off or self.epn_cap_map is None
        never = "never fetched" if reported else "never fetched: the portal reported no visit"
        return record.note.reason if record.note is not None else never


def original_settles(record: ExperimentRecord, entry: IgnoreEntry, beamline: str | None) -> bool:
    """Whether an original program's entry in `ignore.yml` still settles an experiment.

    It does not if asynchy has completed or compared a copy since.
    """
    was_handled = any(copy.was_complete or copy.was_compared for copy in record.copies)
    covered = is_of_original(record.experiment, beamline)
    return covered and not was_handled and not record.touched_since(entry.since)


def _exemption_source(record: ExperimentRecord, now: datetime) -> str:
    """Why an experiment needs no transfer: a release, or an original program's record."""
    if record.is_released(now):
        return f"released by a person: {record.release_reason or 'no reason was given'}"
    source = "an original's database" if record.completed_elsewhere else "ignore.yml"
    return f"{source} calls it fetched; it was never verified"


def lack_of(
    record: ExperimentRecord, copy: CopyRecord, level: Level | None, now: datetime
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
    if not is_emptied(record, copy, now):
        newer = newer_at_facility(copy.listed, record.beamtimes, record.changed, now)
    edited = None
    if copy.edited and level is not None:
        edited = f"{edited_words(copy)}: the facility's version is not at home"
    problem = record.problem if record.vanished is None else None
    return problem or newer or _unfinished(record, copy) or edited or unproven(copy.level, level)


def is_emptied(record: ExperimentRecord, copy: CopyRecord, before: datetime) -> bool:
    """Whether its folder at the facility was found without files after a copy was complete.

    A visit that has ended since, and before the time that is given, may have brought some.
    """
    if copy.completed is None or not copy.files or record.files != 0 or record.listed is None:
        return False
    last_end = record.last_end(before)
    return last_end is None or last_end <= record.listed


def damage_words(copy: CopyRecord) -> str:
    """How many of its files are missing, and how many damaged; and how many links are lost."""
    numbers = {"missing": copy.missing, "damaged": copy.damaged - copy.missing}
    parts = [
        f"{count(number, 'file')} {condition}" for condition, number in numbers.items() if number
    ]
    if copy.lost_links:
        links = count(copy.lost_links, "link or special file", "links or special files")
        parts.append(f"{links} missing or changed")
    return f"{' and '.join(parts)} at home"


def edited_words(copy: CopyRecord) -> str:
    """How many of its files people changed."""
    return f"{count(copy.edited, 'file was', 'files were')} changed at home"


def replaced_words(copy: CopyRecord) -> str:
    """The kept earlier versions of its files, as a sentence without its end."""
    replaced, destination = copy.replaced, copy.copy.destination
    number = count(replaced.files, "file")
    text = f"earlier versions of {number} ({size(replaced.bytes)}) are kept beside {destination}"
    if not replaced.by_less:
        until = " until the copy is proven by content (`asynchy verify`)"
        return text if copy.is_proven_by_content else f"{text}{until}"
    now = "the file in the copy now is smaller, has zeros, is gone, or cannot be read"
    return f"{text}; for {replaced.by_less:,} of them, {now}"


def _unfinished(record: ExperimentRecord, copy: CopyRecord) -> str | None:
    if record.vanished is not None or not copy.unfinished or copy.last is None:
        return None  # no attempt can succeed any more
    return f"the latest attempt: {copy.last.reason or copy.last.verdict.value}"


def unproven(level: Level | None, required: Level | None) -> str | None:
    """Why a level of proof is not enough, for people; None: it is."""
    if required is None or (level is not None and level >= required):
        return None
    return f"complete, proven by {level} alone" if level else "complete, but not known how proven"


def safe_since(copy: CopyRecord, level: Level | None) -> datetime | None:
    """When the facility was listed for a copy that is proven at this level; None: it is not."""
    is_present = copy.presence is Presence.THERE
    is_sound = (
        is_present and copy.completed is not None and not copy.suspect and not copy.is_damaged
    )
    return copy.listed if is_sound and unproven(copy.level, level) is None else None


def unexpected(error: Exception) -> str:
    """The message for an experiment whose state could not be derived."""
    return f"an error that asynchy did not expect: {error!r}"


def name_of(experiment: Experiment) -> str:
    """An experiment for people: `12282a (mx)`."""
    suffix = f" ({experiment.beamline})" if experiment.beamline else ""
    return f"{experiment.epn}{suffix}"


@dataclass(frozen=True)
class DeletionEvidence:
    """Facts about the files that were last listed at the facility."""

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
