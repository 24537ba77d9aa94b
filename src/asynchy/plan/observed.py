"""What a cycle has seen, added to what was known: nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import BrokenLink, Experiment, Located
from asynchy.domain.experiment_record import ExperimentRecord, by_epn


@dataclass(frozen=True)
class FolderSeen:
    """A folder of experiments at the facility, all of which was listed."""

    folder: str
    located: tuple[Located, ...]
    broken: tuple[BrokenLink, ...] = ()
    other: frozenset[Epn] = frozenset()
    """EPNs after which something is named that is neither a folder nor a link, such as a file."""

    @property
    def epns(self) -> frozenset[Epn]:
        """The EPNs after which anything is named: an experiment of none of them is gone."""
        found = {located.experiment.epn for located in self.located}
        links = {link.experiment.epn for link in self.broken if link.experiment is not None}
        return self.other | found | links


def observed(
    records: Iterable[ExperimentRecord], seen: Iterable[FolderSeen], now: datetime
) -> list[ExperimentRecord]:
    """The records with what the folders say: what is visible, what is a broken link, what is gone.

    In order of EPN, as they come from the catalogue.
    """
    known = {record.experiment: record for record in records}
    for folder in seen:
        known |= _located(known, folder.located)
        known |= _broken(known, folder.broken)
        present = folder.epns
        for experiment, record in list(known.items()):
            here = record.source.rpartition("/")[0] == folder.folder
            if here and experiment.epn not in present and record.vanished is None:
                known[experiment] = replace(record, vanished=now, visible=False)
    return sorted(known.values(), key=by_epn)


def _located(
    known: Mapping[Experiment, ExperimentRecord], found: Iterable[Located]
) -> dict[Experiment, ExperimentRecord]:
    changed = {}
    for located in found:
        record = known.get(located.experiment) or ExperimentRecord(located.experiment)
        same = record.seen and record.visible and record.source == located.source
        if same and record.problem is None and record.link_target == located.target:
            continue
        changed[located.experiment] = replace(
            record,
            source=located.source,
            seen=True,
            visible=True,
            vanished=None,
            problem=None,
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
