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
    said: Mapping[str, Origin | None],
    now: datetime,
    *,
    first: bool,
) -> dict[str, IgnoreEntry]:
    """The entries that are in the file now, and those of ours that a person has taken out.

    `said`: by EPN, whose its lines say that it is; None: they do not say. That counts whatever the
    catalogue knows: it may be new, or restored from a backup of the time when another entry of the
    same EPN was there. `first`: the file was never read before. What it then holds is the original
    program's; what comes later is a person's, unless its line says that we wrote it.
    """
    unknown = Origin.ORIGINAL if first else Origin.PERSON
    found = {}
    for epn, whose in said.items():
        entry = known.get(epn)
        is_ours = entry is not None and entry.origin is Origin.OURS
        contradicts = whose is not None and is_ours != (whose is Origin.OURS)
        if entry is None or entry.origin is Origin.REMOVED or contradicts:
            entry = IgnoreEntry(Origin.OURS if whose is Origin.OURS else unknown, now)
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
