"""Whether what was found at the facility is an experiment that is known at another path there.

The facility may change its layout, such as from `/data/<epn>` to `/data/<beamline>/<epn>`, and a
walk may begin in another folder. An experiment that is no longer at its old path is the same one:
it keeps its copies and its history. If both paths are there, a person is told of the second one.
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
    """What is at the path at which an experiment was known, now that it was found at another."""

    GONE = "gone"
    SAME = "the same folder, by a symbolic link"
    OTHER = "another folder"
    """Or nobody knows: the one above it cannot be listed."""


MovedVisits = Collection[tuple[str, str, str]]
"""EPN, beamline that a visit of it was told on before, and the one that it is told on now."""
Ask = Callable[[Mapping[str, str]], Mapping[str, OldPlace]]
"""From old paths at the facility, each with the one that was found, to what is at the old ones."""


def recognised(
    found: Iterable[LocatedExperiment],
    known: Mapping[Experiment, KnownFolder],
    look: Ask,
    moved_visits: MovedVisits = (),
) -> list[LocatedExperiment]:
    """What was found, with the names under which it is known, and second folders named.

    The facility is asked only about experiments that were known at another path.
    """
    items = list(found)
    former = _former(items, known, moved_visits)
    old = {one.experiment: _old_path(one, former.get(one.experiment), known) for one in items}
    asked = {path: one.source for one in items if (path := old[one.experiment]) is not None}
    places = look(asked) if asked else {}
    made = []
    for one in items:
        before, path = former.get(one.experiment), old[one.experiment]
        place = OldPlace.GONE if path is None else places[path]
        if before is not None and place is OldPlace.OTHER:
            made.append(one)  # they stay two
            continue
        placed = _placed(one, known.get(before or one.experiment), place, path)
        made.append(placed if before is None else _renamed(placed, before))
    return made


def _placed(
    one: LocatedExperiment, was: KnownFolder | None, place: OldPlace, path: str | None
) -> LocatedExperiment:
    """What was found, and whether it is to be compared, or has a second folder, at `path`."""
    if place is OldPlace.OTHER and one.second is None:
        one = replace(one, second=path)
    if was is None or place is OldPlace.SAME or _is_beside(was.source, one.source):
        return one
    return replace(one, moved=True)


def _renamed(one: LocatedExperiment, before: Experiment) -> LocatedExperiment:
    """The known name counts, but one with a beamline takes the place of one without."""
    if not one.experiment.beamline:
        return replace(one, experiment=before)
    return replace(one, formerly=before)


def _former(
    found: Collection[LocatedExperiment],
    known: Mapping[Experiment, KnownFolder],
    moved_visits: MovedVisits,
) -> dict[Experiment, Experiment]:
    """By the name of what is new: the one experiment that it may be, which was not found itself.

    One of the two is in no beamline's folder, or the portal has told the same visit on both
    beamlines.
    """
    names = {one.experiment for one in found}
    new = [name for name in names if name not in known]
    if not new:
        return {}
    by_epn: defaultdict[Epn, list[Experiment]] = defaultdict(list)
    for experiment in known.keys() - names:
        by_epn[experiment.epn].append(experiment)
    alike = Counter(name.epn for name in new)
    made = {}
    for name in new:
        candidates = [
            one
            for one in by_epn[name.epn]
            if not one.beamline
            or not name.beamline
            or (name.epn.text, one.beamline, name.beamline) in moved_visits
        ]
        if len(candidates) == alike[name.epn] == 1:
            made[name] = candidates[0]
    return made


def _old_path(
    one: LocatedExperiment, before: Experiment | None, known: Mapping[Experiment, KnownFolder]
) -> str | None:
    """The other path at which an experiment was seen, and may be still; None: there is none."""
    if before is not None:
        was = known[before]
        return None if was.gone or was.source == one.source else was.source
    if (found := known.get(one.experiment)) is None:
        return None
    path = second_folder(found.problem) if found.source == one.source else found.source
    if path is None or (found.gone and path == found.source):
        return None
    return None if _is_beside(path, one.source) else path


def _is_beside(path: str, other: str) -> bool:
    """Whether two paths are in one folder."""
    return path.rpartition("/")[0] == other.rpartition("/")[0]
