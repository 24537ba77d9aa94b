"""Whose the entries of `ignore.yml` are, and which ones a cycle adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState
from asynchy.model.policy import IgnoreEntry, Origin


def entries_now(
    known: Mapping[str, IgnoreEntry],
    epns: Collection[str],
    now: datetime,
    *,
    first: bool,
    ours: Collection[str] = (),
) -> dict[str, IgnoreEntry]:
    """The entries that are in the file now, and those of ours that a person has taken out.

    `first`: the file was never read before. What it then holds is the original program's; what
    comes later, and was not written by us, is a person's. `ours`: those whose line says that we
    wrote it, whatever the catalogue says: it may be new, or restored from a backup of the time
    when a person's entry of the same EPN was there.
    """
    unknown = Origin.ORIGINAL if first else Origin.PERSON
    found = {}
    for epn in epns:
        entry = known.get(epn)
        origin = Origin.OURS if epn in ours else unknown
        contradicts = entry is not None and epn in ours and entry.origin is not Origin.OURS
        if entry is None or entry.origin is Origin.REMOVED or contradicts:
            entry = IgnoreEntry(origin, now)
        found[epn] = entry
    for epn in known.keys() - found.keys():
        if known[epn].origin is Origin.OURS:
            found[epn] = IgnoreEntry(Origin.REMOVED, now)
        elif known[epn].origin is Origin.REMOVED:
            found[epn] = known[epn]
    return found


def epns_to_add(
    states: Iterable[ExperimentState], ignored: Collection[str], done: Collection[Experiment]
) -> list[Epn]:
    """The EPNs without an entry of which every known experiment is settled.

    `done` are the experiments that this cycle has completed.
    """
    by_epn: defaultdict[Epn, list[ExperimentState]] = defaultdict(list)
    for item in states:
        by_epn[item.record.epn].append(item)
    return [
        epn
        for epn, items in by_epn.items()
        if epn.text not in ignored
        and all(item.is_settled or item.experiment in done for item in items)
    ]
