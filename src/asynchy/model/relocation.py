"""Recognises experiments that were known at another path at the facility.

The facility may change its layout, such as from `/data/<epn>` to `/data/<beamline>/<epn>`, and a
walk may begin in another folder. An experiment that is no longer at its old path is the same one:
it keeps its copies and its history. If both paths exist, the second one is reported to a person.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment, LocatedExperiment
from asynchy.model.observed import second_folder


@dataclass(frozen=True)
class KnownFolder:
    """Where an experiment was last seen at the facility."""

    source: str
    gone: bool
    """Whether it was found to be no longer there."""
    problem: str | None = None


class OldPlace(Enum):
    """The state of the old path of an experiment that was found at another."""

    GONE = "gone"
    SAME = "the same folder, by a symbolic link"
    OTHER = "another folder"
    """Or nobody knows: the one above it cannot be listed."""


MovedVisits = Collection[tuple[str, str, str]]
"""EPN, the beamline of a visit before, and its beamline now."""
Ask = Callable[[Mapping[str, str]], Mapping[str, OldPlace]]
"""Takes old path -> path found; returns old path -> the state of the old path."""


def recognised(
    located: Iterable[LocatedExperiment],
    known: Mapping[Experiment, KnownFolder],
    check: Ask,
    moved_visits: MovedVisits = (),
) -> list[LocatedExperiment]:
    """The experiments found, with their known names, and with second folders.

    The facility is asked only about experiments that were known at another path.
    """
    items = list(located)
    former = _former(items, known, moved_visits)
    old_paths = {
        item.experiment: _old_path(item, former.get(item.experiment), known) for item in items
    }
    to_check = {
        path: item.source for item in items if (path := old_paths[item.experiment]) is not None
    }
    old_places = check(to_check) if to_check else {}
    result = []
    for item in items:
        former_name, path = former.get(item.experiment), old_paths[item.experiment]
        old_place = OldPlace.GONE if path is None else old_places[path]
        if former_name is not None and old_place is OldPlace.OTHER:
            result.append(item)  # they stay two
            continue
        placed = _placed(item, known.get(former_name or item.experiment), old_place, path)
        result.append(placed if former_name is None else _renamed(placed, former_name))
    return result


def _placed(
    item: LocatedExperiment, was: KnownFolder | None, old_place: OldPlace, path: str | None
) -> LocatedExperiment:
    """The experiment found, marked if it must be compared, or has a second folder at `path`."""
    if old_place is OldPlace.OTHER and item.second is None:
        item = replace(item, second=path)
    if was is None or old_place is OldPlace.SAME or _is_beside(was.source, item.source):
        return item
    return replace(item, moved=True)


def _renamed(item: LocatedExperiment, former_name: Experiment) -> LocatedExperiment:
    """The known name counts, but one with a beamline takes the place of one without."""
    if not item.experiment.beamline:
        return replace(item, experiment=former_name)
    return replace(item, formerly=former_name)


def _former(
    located: Collection[LocatedExperiment],
    known: Mapping[Experiment, KnownFolder],
    moved_visits: MovedVisits,
) -> dict[Experiment, Experiment]:
    """New name -> the known experiment that it must be, which was not found itself.

    One of the two is in no beamline's folder, or the portal has reported the same visit on both
    beamlines.
    """
    names = {item.experiment for item in located}
    new_names = [name for name in names if name not in known]
    if not new_names:
        return {}
    by_epn: defaultdict[Epn, list[Experiment]] = defaultdict(list)
    for experiment in known.keys() - names:
        by_epn[experiment.epn].append(experiment)
    alike = Counter(name.epn for name in new_names)
    result = {}
    for name in new_names:
        candidates = [
            item
            for item in by_epn[name.epn]
            if not item.beamline
            or not name.beamline
            or (name.epn.text, item.beamline, name.beamline) in moved_visits
        ]
        if len(candidates) == alike[name.epn] == 1:
            result[name] = candidates[0]
    return result


def _old_path(
    item: LocatedExperiment, former_name: Experiment | None, known: Mapping[Experiment, KnownFolder]
) -> str | None:
    """The other path at which an experiment was seen, and may be still; None: there is none."""
    if former_name is not None:
        was = known[former_name]
        return None if was.gone or was.source == item.source else was.source
    if (folder := known.get(item.experiment)) is None:
        return None
    path = second_folder(folder.problem) if folder.source == item.source else folder.source
    if path is None or (folder.gone and path == folder.source):
        return None
    return None if _is_beside(path, item.source) else path


def _is_beside(path: str, other: str) -> bool:
    """Whether two paths are in one folder."""
    return path.rpartition("/")[0] == other.rpartition("/")[0]
