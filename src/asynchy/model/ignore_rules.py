"""The origin of the entries of `ignore.yml`, and which ones a cycle adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState
from asynchy.model.policy import IgnoreEntry, Origin


def entries_now(
    stored: Mapping[str, IgnoreEntry],
    marked: Mapping[str, Origin | None],
    now: datetime,
    *,
    is_first_read: bool,
) -> dict[str, IgnoreEntry]:
    """The entries of the file now, and entries of ours that a person has removed.

    `marked`: EPN -> the origin that its line names; None: none. The mark counts more than the
    catalogue, which may be new, or restored from a backup with another entry of the same EPN.
    `is_first_read`: the file was never read before. Its entries then are the original program's;
    later ones are a person's, unless the line has asynchy's mark.
    """
    unknown = Origin.ORIGINAL if is_first_read else Origin.PERSON
    entries = {}
    for epn, mark in marked.items():
        entry = stored.get(epn)
        is_ours = entry is not None and entry.origin is Origin.OURS
        contradicts = mark is not None and is_ours != (mark is Origin.OURS)
        if entry is None or entry.origin is Origin.REMOVED or contradicts:
            entry = IgnoreEntry(Origin.OURS if mark is Origin.OURS else unknown, now)
        entries[epn] = entry
    for epn in stored.keys() - entries.keys():
        if stored[epn].origin is Origin.OURS:
            entries[epn] = IgnoreEntry(Origin.REMOVED, now)
        elif stored[epn].origin is Origin.REMOVED:
            entries[epn] = stored[epn]
    return entries


def epns_to_add(
    states: Iterable[ExperimentState], ignored: Collection[str], completed: Collection[Experiment]
) -> list[Epn]:
    """The EPNs without an entry of which every known experiment is settled.

    `completed` are the experiments that this cycle has completed.
    """
    by_epn: defaultdict[Epn, list[ExperimentState]] = defaultdict(list)
    for item in states:
        by_epn[item.record.epn].append(item)
    return [
        epn
        for epn, items in by_epn.items()
        if epn.text not in ignored
        and all(item.is_settled or item.experiment in completed for item in items)
    ]
