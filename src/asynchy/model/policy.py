"""The inputs of all decisions: config, visits, `ignore.yml`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from asynchy.model.clock import is_future
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.visit import Beamtime, Visit

_NEVER_ENDS = datetime.max.replace(tzinfo=UTC)
CURRENT = timedelta(hours=1)
"""A visit that runs now or begins within this time is current (the original's rule)."""


BY_ORIGINAL = "by the original program"
"""Who wrote an entry of `Origin.ORIGINAL`, for people."""


class Origin(Enum):
    """Who wrote an entry of `ignore.yml`. The values are stored in the catalogue."""

    OURS = "ours"
    """This program, when all known copies of the EPN were complete."""
    ORIGINAL = "original"
    """It was there when this program first read the file: the original program wrote it."""
    PERSON = "person"
    """It came later, and this program did not write it."""
    REMOVED = "removed"
    """asynchy wrote it, and a person has removed it: its EPN is fetched again."""


@dataclass(frozen=True)
class IgnoreEntry:
    """An entry of `ignore.yml`."""

    origin: Origin
    since: datetime
    """When it was written, or first read; of one that was taken out: when that was first seen."""


def is_of_original(experiment: Experiment, beamline: str | None) -> bool:
    """Whether an entry of the original program, which fetched one beamline, is about it.

    `beamline` is the original's; None: its entries are about all.
    """
    return beamline is None or experiment.beamline in (beamline, "")


@dataclass(frozen=True)
class DestinationRules:
    """The config's rules for the folders of experiments and for the places of copies."""

    epn_cap_map: Mapping[str, str]
    source_path: str
    destination_root: Path
    destination_path: str

    def project_of(self, epn: Epn) -> str | None:
        """The project that owns an EPN's data; None: none is assigned."""
        return self.epn_cap_map.get(epn.proposal)

    def place_of(self, record: ExperimentRecord) -> Path | None:
        """The place of an experiment's copy; None: it has no project."""
        project = self.project_of(record.epn)
        return self.copy_of(record, project).destination if project else None

    def copy_of(self, record: ExperimentRecord, project: str) -> Copy:
        """The copy of an experiment that the rules ask for."""
        experiment = record.experiment
        names = {
            "project": project,
            "epn": experiment.epn.text,
            "beamline": experiment.beamline,
        }
        source = self.source_path.format(**names)
        seen_there = record.visible and self.source_path.endswith("{epn}") and record.source
        if seen_there or record.source.lower() == source.lower():
            source = record.source  # where it was seen, as the facility spells it
        parent = self.destination_path.format(**names)
        texts = (
            project,
            source,
            f"{self.destination_root}/{project}",
            f"{self.destination_root}/{parent}",
        )
        for item in record.copies:  # to make paths takes longer than all else here
            copy = item.copy
            of_copy = (copy.project, copy.source, str(copy.project_folder), str(copy.destination))
            if of_copy == texts and copy.experiment == experiment:
                return copy
        return Copy(
            experiment=experiment,
            project=project,
            source=source,
            project_folder=self.destination_root / project,
            destination=self.destination_root / parent,
        )


@dataclass(frozen=True)
class RecheckPolicy:
    """When a complete experiment is listed once more, because of files written late."""

    now: datetime
    after: timedelta
    """Time after the end of its visit."""

    def is_due(self, visit_end: datetime, completed_listing: datetime) -> bool:
        """Whether it is; a listing made that long after the visit was that look."""
        return completed_listing - visit_end < self.after <= self.now - visit_end


@dataclass(frozen=True)
class RunningVisits:
    """The current visits: which experiments wait for them, and since when."""

    since: Mapping[Epn, datetime] = field(default_factory=dict)
    """EPN with a current visit -> its start."""
    reference: datetime = _NEVER_ENDS
    """Experiments whose visits ended before this may be fetched."""
    current: tuple[Beamtime, ...] = ()
    """The current visits, in order of their start."""


def is_current(visit: Visit, now: datetime) -> bool:
    """Whether the visit runs now or begins within the hour."""
    return visit.start <= now + CURRENT and visit.end >= now


def running_visits(beamtimes: Iterable[Beamtime], now: datetime) -> RunningVisits:
    """The visits that are current at a time, of equipment that is still asked about."""
    current = [item for item in beamtimes if item.asked and is_current(item.visit, now)]
    since: dict[Epn, datetime] = {}
    for item in current:
        epn, start = item.visit.epn, item.visit.start
        since[epn] = min(start, since.get(epn, start))
    reference = min([now, *(item.visit.start for item in current)])
    in_order = sorted(current, key=lambda item: (item.visit.start, item.visit.epn, item.beamline))
    return RunningVisits(since, reference, tuple(in_order))


@dataclass(frozen=True)
class Policy:
    """The inputs of a decision on an experiment, in addition to its record."""

    now: datetime
    rules: DestinationRules
    running: RunningVisits
    ignored: Mapping[str, IgnoreEntry] = field(default_factory=dict)
    """The entries of `ignore.yml`, by EPN."""
    original_beamline: str | None = None
    """The beamline of the original program, whose entries are about no other; None: about all."""
    recheck: RecheckPolicy | None = None
    """None: no complete experiment is listed a second time."""
    fetch_visible: bool = False
    """Whether what is visible at the SFTP service is due, though the portal never reported it."""
    unmounted: Mapping[Path, Path] = field(default_factory=dict)
    """Folders that are missing or have no copy, though copies were below them -> the folder that
    people are told of, which may be above."""
    filled: Collection[Path] = frozenset()
    """Places in the config that have data, of experiments whose complete copies are not at their
    places: the storage was moved.
    """
    owners: Mapping[str, Experiment] = field(default_factory=dict)
    """Destination -> the experiment whose copy is there."""
    clock_is_right: bool = True
    """Whether `now` is right, so that a stored time in the future was stored by a clock that was
    ahead. For a clock that is behind, all recent times are in the future.
    """

    def is_future(self, moment: datetime) -> bool:
        """Whether a stored time counts for nothing: it is of a clock that was ahead."""
        return self.clock_is_right and is_future(moment, self.now)

    def gives_up(self, record: ExperimentRecord, copy: CopyRecord) -> bool:
        """Whether a copy is not at home, and a person has taken its entry out of `ignore.yml`.

        That person wants the experiment fetched again, so that nobody else has to decide.
        """
        entry = self.ignored.get(record.epn.text)
        if entry is None or entry.origin is not Origin.REMOVED or record.vanished is not None:
            return False
        is_older = copy.listed is None or copy.listed < entry.since
        absent = copy.presence in (Presence.MISSING, Presence.EMPTY)
        return copy.was_complete and absent and is_older


def owners_of(records: Iterable[ExperimentRecord]) -> dict[str, Experiment]:
    """Destination -> the experiment whose copy is there, of all copies that are known."""
    return {
        str(copy.copy.destination): record.experiment
        for record in records
        for copy in record.copies
        if copy.was_complete or copy.transfers
    }


def unmounted_folders(records: Iterable[ExperimentRecord]) -> dict[Path, Path]:
    """Folders of projects, or below one, that are missing or have no copy -> the one to name.

    That is a folder above if it has nothing of several projects.
    """
    folders = {}
    for record in records:
        for copy in record.copies:
            if copy.presence is Presence.MISSING and copy.mount is not None:
                folders[copy.mount] = copy.mount
            if copy.presence is Presence.UNMOUNTED:
                project = copy.copy.project_folder
                mount = copy.mount or project
                folders[mount if project in mount.parents else project] = mount
    return folders
