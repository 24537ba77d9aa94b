"""What is at home, compared with the facility: what is compared, and what follows if it cannot be.

`rebuild` and `adopt` have these parts in common. No file is moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment, ListingDiff
from asynchy.model.experiment_record import UNCOMPARED, ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import count, escaped, size
from asynchy.model.plan import DueCopy, DueReason, Plan, SkipReason
from asynchy.model.policy import Policy
from asynchy.repatriation.due_notes import due_notes
from asynchy.repatriation.home_places import HomePlace, ProjectFolder
from asynchy.runtime.cycle_context import CycleContext


def due_at_home(
    states: Iterable[ExperimentState], places: Iterable[HomePlace], policy: Policy
) -> Iterator[DueCopy]:
    """What is to be compared: each experiment at each of its places that holds data."""
    by_epn: defaultdict[Epn, list[HomePlace]] = defaultdict(list)
    for place in places:
        by_epn[place.epn].append(place)
    for item in states:
        for place in by_epn[item.record.epn]:
            copy = policy.rules.copy_of(item.record, place.project)
            is_open = item.state in (State.DUE, State.UNOWNED)
            is_free = item.left in (None, SkipReason.UNMAPPED)
            if is_open and is_free and copy.destination == place.path:
                yield DueCopy(copy, item.why or DueReason.NEW)


def without_data(
    states: Iterable[ExperimentState],
    folders: Iterable[ProjectFolder],
    looked_at: Collection[Path],
) -> Iterator[Copy]:
    """The copies of what is due to whose places nobody has looked, in projects that are there."""
    existing = {folder.path for folder in folders if folder.is_there}
    for item in states:
        copy = item.wanted
        is_open = item.state is State.DUE and item.left is None
        if (
            is_open
            and copy
            and copy.project_folder in existing
            and copy.destination not in looked_at
        ):
            yield copy


def is_whole(listing_diff: ListingDiff) -> bool:
    """Whether all that was listed is at home."""
    return not listing_diff.missing_files and not listing_diff.missing_folders


def difference_words(listing_diff: ListingDiff) -> str:
    """What is not at home as it was listed, for people."""
    counts, folders = listing_diff.different, listing_diff.missing_folders
    parts = [
        f"{count(number, 'file')} {text}"
        for number, text in (
            (listing_diff.absent_files, "missing"),
            (counts.newer, "newer at the facility"),
            (counts.changed, "changed at home"),
            (counts.resized, "with another size"),
        )
        if number
    ]
    parts += [f"{count(folders, 'folder')} missing"] if folders else []
    return f"{', '.join(parts)} ({size(listing_diff.missing_bytes)} to fetch)"


def note_due(
    context: CycleContext,
    policy: Policy,
    plan: Plan,
    failed: Iterable[tuple[Copy, str]],
    completed: Collection[Experiment] = (),
) -> None:
    """Note incomplete copies at home as due: their visits may be years ago.

    `failed`: such copies, with the reason; `completed`: complete ones, whose notes are removed.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    owned = [
        (replace(copy, project=policy.rules.project_of(copy.epn) or copy.project), reason)
        for copy, reason in failed
    ]
    undone = due_notes(plan, owned, ()).undone
    context.catalogue.notifications.note(undone, completed, context.clock.now())


def nothing_seen(states: Iterable[ExperimentState], places: Sequence[HomePlace]) -> tuple[str, ...]:
    """Why nothing at home can be called gone from the facility: nothing was seen there at all."""
    if not places or any(item.record.visible for item in states):
        return ()
    return ("no experiment is visible at the facility: check `source-path` and `beamline`",)


def unmatched_places(
    states: Sequence[ExperimentState], places: Iterable[HomePlace]
) -> list[HomePlace]:
    """The places of experiments that are not at the facility, and not known to be complete."""
    records = [item.record for item in states]
    known_paths = {(record.epn, record.experiment.beamline) for record in records if record.visible}
    visible = {epn for epn, _ in known_paths}
    complete = {
        copy.copy.destination for record in records for copy in record.copies if copy.completed
    }
    return [
        place
        for place in places
        if place.path not in complete
        and (place.epn not in visible if place.beamline is None else _key(place) not in known_paths)
    ]


def _key(place: HomePlace) -> tuple[Epn, str | None]:
    return place.epn, place.beamline


def keep_known(
    context: CycleContext,
    policy: Policy,
    states: Iterable[ExperimentState],
    unmatched: Iterable[HomePlace],
) -> None:
    """Store the experiments of places that nothing can be compared with: they stay known.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    records: defaultdict[Epn, list[ExperimentRecord]] = defaultdict(list)
    for item in states:
        records[item.record.epn].append(item.record)
    beamlines = set(context.settings.source_folders.values())
    only = beamlines.pop() if len(beamlines) == 1 else ""
    for place in unmatched:
        beamline, project = place.beamline or only, policy.rules.project_of(place.epn)
        on = (
            copy_record
            for copy_record in records[place.epn]
            if beamline in ("", copy_record.experiment.beamline)
        )
        record = next(on, ExperimentRecord(Experiment(beamline, place.epn)))
        if project is None or any(copy.was_complete or copy.attempts for copy in record.copies):
            continue
        source = policy.rules.copy_of(record, project).source
        reason = f"{UNCOMPARED}: {escaped(str(place.path))}"
        now = context.clock.now()
        context.catalogue.decisions.note_gone(record.experiment, source, project, reason, now)
