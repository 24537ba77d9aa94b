"""Adds the observations of a cycle to the records; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Experiment, LocatedExperiment
from asynchy.model.experiment_record import ExperimentRecord, by_epn, combine
from asynchy.model.plan import SkipReason


@dataclass(frozen=True)
class FolderSeen:
    """A folder of experiments at the facility, all of which was listed."""

    folder: str
    located: tuple[LocatedExperiment, ...]
    broken: tuple[BrokenLink, ...] = ()
    other: frozenset[Epn] = frozenset()
    """EPNs after which something is named that is neither a folder nor a link, such as a file."""

    @property
    def epns(self) -> frozenset[Epn]:
        """The EPNs after which anything is named: an experiment of none of them is gone."""
        return self.other | self._folders

    @property
    def only_other(self) -> frozenset[Epn]:
        """The EPNs after which neither a folder nor a link is named, but something else."""
        return self.other - self._folders

    @property
    def _folders(self) -> frozenset[Epn]:
        located = {located.experiment.epn for located in self.located}
        links = {link.experiment.epn for link in self.broken if link.experiment is not None}
        return frozenset(located | links)


def observed(
    records: Iterable[ExperimentRecord], folders: Iterable[FolderSeen], now: datetime
) -> list[ExperimentRecord]:
    """The records, updated from the folders: visible, a broken link, or gone.

    In order of EPN, as they come from the catalogue.
    """
    by_experiment = {record.experiment: record for record in records}
    for folder in folders:
        _rename(by_experiment, folder.located)
        by_experiment |= _located(by_experiment, folder.located, now)
        by_experiment |= _broken(by_experiment, folder.broken)
        by_experiment |= _replaced(by_experiment, folder)
        present = folder.epns
        for experiment, record in list(by_experiment.items()):
            is_in_folder = record.source.rpartition("/")[0] == folder.folder
            if is_in_folder and experiment.epn not in present and record.vanished is None:
                by_experiment[experiment] = replace(record, vanished=now, visible=False)
    observed_records = by_experiment.values()
    visits = [item for record in observed_records for item in record.beamtimes]
    if any(item.earlier for item in visits):  # one may be of an experiment that was just seen
        return combine((record.with_beamtimes(()) for record in observed_records), visits)
    return sorted(observed_records, key=by_epn)


def problem_of(located: LocatedExperiment) -> str | None:
    """The problem of an experiment's folder that can be listed; None: it has none."""
    if located.second is None:
        return None
    return f"{SkipReason.SECOND_FOLDER.text}: {located.second}"


def second_folder(problem: str | None) -> str | None:
    """The path of the second folder that a problem names; None: it names none."""
    if problem is None or SkipReason.said_in(problem) is not SkipReason.SECOND_FOLDER:
        return None
    return problem.removeprefix(f"{SkipReason.SECOND_FOLDER.text}: ")


def is_usable(problem: str | None) -> bool:
    """Whether a folder with this problem can be listed and fetched."""
    return problem is None or SkipReason.said_in(problem) is SkipReason.SECOND_FOLDER


def not_a_folder(source: str) -> str:
    """The problem of an experiment that was seen, and has a file in its place now."""
    return f"{source}: it is not a folder"


def is_back(
    *, was_seen: bool, was_usable: bool, is_released: bool, has_copies: bool, moved: bool = False
) -> bool:
    """Whether a folder that is there now has to be compared, because it was not there before.

    `was_seen`: it was seen at some time; `was_usable`: when it was last looked for, it was there
    and could be listed. An experiment that was released while it had no folder may have data now,
    and a fetched one may have other files. The same if it `moved`: its new place was not listed
    yet. A released one stays released if it was only moved.
    """
    if moved and has_copies and not is_released:
        return True
    return not was_usable and (is_released or (was_seen and has_copies))


def _rename(known: dict[Experiment, ExperimentRecord], found: Iterable[LocatedExperiment]) -> None:
    """Give experiments, and their copies, the names under which they are known from now on."""
    for located in found:
        if located.formerly is None or located.formerly not in known:
            continue
        name, existing = located.experiment, known.get(located.experiment)
        if existing is not None and existing.source:
            continue
        former = known.pop(located.formerly)
        copies_before = [*former.copies, *(existing.copies if existing is not None else ())]
        copies = [replace(copy, copy=replace(copy.copy, experiment=name)) for copy in copies_before]
        visits = [*(existing.beamtimes if existing is not None else ()), *former.beamtimes]
        known[name] = replace(
            former,
            experiment=name,
            copies=tuple(sorted(copies, key=lambda copy: str(copy.copy.destination))),
            beamtimes=(),
            note=existing.note if existing is not None else None,
        ).with_beamtimes(item for item in visits if item.beamline == name.beamline)


def _located(
    known: Mapping[Experiment, ExperimentRecord], found: Iterable[LocatedExperiment], now: datetime
) -> dict[Experiment, ExperimentRecord]:
    changed = {}
    for located in found:
        record = known.get(located.experiment) or ExperimentRecord(located.experiment)
        unchanged = record.seen and record.visible and record.source == located.source
        problem = problem_of(located)
        if unchanged and record.problem == problem and record.link_target == located.target:
            continue
        is_back_again = is_back(
            was_seen=bool(record.source),
            was_usable=record.visible and is_usable(record.problem),
            is_released=record.released is not None,
            has_copies=bool(record.copies),
            moved=located.moved,
        )
        changed[located.experiment] = replace(
            record,
            changed=now if is_back_again else record.changed,
            listed=None if located.moved else record.listed,
            source=located.source,
            seen=True,
            visible=True,
            vanished=None,
            problem=problem,
            link_target=located.target,
        )
    return changed


def _broken(
    known: Mapping[Experiment, ExperimentRecord], links: Iterable[BrokenLink]
) -> dict[Experiment, ExperimentRecord]:
    return {
        link.experiment: replace(
            known.get(link.experiment) or ExperimentRecord(link.experiment),
            source=link.path,
            seen=True,
            visible=True,
            vanished=None,
            problem=str(link),
            link_target=link.target,
        )
        for link in links
        if link.experiment is not None
    }


def _replaced(
    known: Mapping[Experiment, ExperimentRecord], folder: FolderSeen
) -> dict[Experiment, ExperimentRecord]:
    """Experiments that were seen, and now have neither a folder nor a link in their place."""
    only_others = folder.only_other
    return {
        experiment: replace(record, problem=not_a_folder(record.source))
        for experiment, record in known.items()
        if experiment.epn in only_others
        and record.vanished is None
        and record.source.rpartition("/")[0] == folder.folder
    }
