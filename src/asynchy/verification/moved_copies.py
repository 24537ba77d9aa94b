"""`asynchy copies`: a person decides about copies that are not where they should be.

list     every copy, with what is at its place
move     it is at another place now: checked by size and time, then recorded
forget   it need not be at home any more; the reason is kept; --undo takes that back
refetch  it is fetched again by the next cycle
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.copy_files import CopyFiles
from asynchy.errors import CopyRefused, NothingKnown
from asynchy.localfs.file_listing import files_below
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import count, escaped, moment
from asynchy.model.policy import DestinationRules
from asynchy.model.safety import name_of
from asynchy.model.verification import Damage
from asynchy.reporting.presence import copies_with_presence
from asynchy.verification.audit_rules import merged

_MAX_NAMED = 3


@dataclass(frozen=True)
class MovedCopy:
    """A copy whose files were found at a new place."""

    record: CopyRecord
    destination: Path
    files: int


def chosen_experiment(catalogue: Catalogue, epn: Epn, beamline: str | None) -> ExperimentRecord:
    """The experiment of an EPN, or the one of several that is on a beamline.

    Raises:
        NothingKnown: the catalogue knows no such experiment.
        CopyRefused: there are several, and no beamline is named.
        CatalogueError: the catalogue cannot be used.
    """
    records = [
        record
        for record in catalogue.overview.records([epn.text])
        if beamline is None or record.experiment.beamline == beamline
    ]
    if not records:
        on = f" on {beamline}" if beamline is not None else ""
        raise NothingKnown(
            f"{catalogue.address} does not know {epn}{on}",
            hint=f"check the spelling: `asynchy status {epn}`",
        )
    if len(records) > 1:
        names = ", ".join(record.experiment.beamline or "none" for record in records)
        raise CopyRefused(
            f"{epn} is on {len(records)} beamlines: {names}", hint="name one with --beamline"
        )
    return records[0]


def chosen_copy(catalogue: Catalogue, epn: Epn, path: Path | None) -> CopyRecord:
    """The copy of an EPN, or the one of several that is, or should be, at a place.

    Raises:
        NothingKnown: the catalogue knows no such copy.
        CopyRefused: there are several, and no place is named.
        CatalogueError: the catalogue cannot be used.
    """
    records = copies_with_presence(
        catalogue.overview.copies([epn.text]), catalogue.overview.places_below
    )
    if path is not None:
        records = [copy_record for copy_record in records if copy_record.copy.destination == path]
    if not records:
        location = f" in {path}" if path else ""
        raise NothingKnown(
            f"{catalogue.address} knows no copy of {epn}{location}",
            hint=f"`asynchy status {epn}` says what is known of it, and of which copies",
        )
    if len(records) > 1:
        places = ", ".join(str(copy_record.copy.destination) for copy_record in records)
        raise CopyRefused(f"{epn} has {len(records)} copies: {places}", hint="name one with --copy")
    _require_idle(records)
    return records[0]


def _require_idle(copies: Iterable[CopyRecord]) -> None:
    """Refuse to decide about a copy while a process works on it.

    Raises:
        CopyRefused: one does.
    """
    for record in copies:
        if (claim := record.claim) is not None:
            raise CopyRefused(
                f"process {claim.pid} on {claim.host} works on {record.copy.destination}",
                hint="wait until it has ended, or stop it",
            )


def move(catalogue: Catalogue, record: CopyRecord, destination: Path, folder: Path) -> MovedCopy:
    """Record that a copy is at another place; all its files must be there by size and time.

    `folder` is the one above it that asynchy never makes, such as the project's.

    Raises:
        CopyRefused: files are missing there, or have another size or time.
        DestinationTaken: another experiment has its copy there.
        CatalogueError: the catalogue cannot be used.
    """
    copy_files = catalogue.copy_files(record.id)
    number, _ = copy_files.everything().amount()
    if not destination.is_dir() or destination.is_symlink():
        raise CopyRefused(f"{destination} is not a folder", hint="name the folder of the files")
    problems = list(_problem(copy_files, destination, folder))
    if problems or not number:
        names = ", ".join(problems[:_MAX_NAMED])
        singular = f"file of {number:,} is not there as it was"
        plural = f"files of {number:,} are not there as they were"
        summary = f"{count(len(problems), singular, plural)}: {names}"
        raise CopyRefused(
            f"{destination}: {summary if number else 'it is not known what the copy holds'}",
            hint=f"`asynchy copies refetch {record.copy.epn}` fetches it again to its old place",
        )
    catalogue.decisions.move(record, destination, folder, datetime.now(UTC))
    return MovedCopy(record, destination, number)


def _problem(copy_files: CopyFiles, destination: Path, folder: Path) -> Iterator[str]:
    """The paths of files that are missing, or have another size or time, escaped."""
    with SafeTree(destination, folder) as tree:
        paths = files_below(tree, lambda _folder, _error: None)
        for file, path in merged(copy_files.everything(), paths):
            edited = file is not None and file.damage is Damage.EDITED and path is not None
            if (
                file is not None
                and not edited
                and (path is None or not file.is_as_arrived(tree.find(file.path)))
            ):
                yield escaped(file.path)


def release(  # noqa: PLR0913, PLR0917 - the copy, and the reason
    catalogue: Catalogue,
    epn: Epn,
    beamline: str | None,
    path: Path | None,
    reason: str,
    now: datetime,
) -> str:
    """Release an experiment, or forget the copy at a place; returns the result as text for people.

    Raises:
        NothingKnown: the catalogue knows no such experiment, or copy.
        CopyRefused: there are several, it is released already, or a process works on it.
        CatalogueError: the catalogue cannot be used.
    """
    if path is None:
        chosen = chosen_experiment(catalogue, epn, beamline)
        _require_idle(chosen.copies)
        if not any(copy.was_complete or copy.transfers for copy in chosen.copies):
            require_unreleased(chosen, now)
            catalogue.decisions.release(chosen.experiment, reason, now)
            return f"{name_of(chosen.experiment)}: released. A later visit is due again."
        if len(chosen.copies) == 1:
            path = chosen.copies[0].copy.destination
    record = chosen_copy(catalogue, epn, path)
    catalogue.decisions.forget(record, reason, now)
    return f"{epn}: the copy in {record.copy.destination} is forgotten. No file was removed."


def require_unreleased(record: ExperimentRecord, now: datetime) -> None:
    """Keep the first reason for which an experiment was released.

    Raises:
        CopyRefused: it is released, and nothing has come since.
    """
    released = record.released
    if released is not None and record.is_released(now):
        raise CopyRefused(
            f"{name_of(record.experiment)} was released {moment(released)}: "
            f"{record.release_reason or 'no reason was given'}",
            hint="nothing is left to do; a later visit makes it due again, and "
            f"`asynchy copies forget {record.epn} --undo` takes the release back",
        )


def take_back(catalogue: Catalogue, record: ExperimentRecord, reason: str, now: datetime) -> None:
    """Take back the release of an experiment: it is due again, and compared at its place.

    Raises:
        CopyRefused: it is not released.
        CatalogueError: the catalogue cannot be used.
    """
    if record.released is None:
        raise CopyRefused(
            f"{name_of(record.experiment)} is not released: there is nothing to take back",
            hint=f"`asynchy status {record.epn}` says what is known of it",
        )
    catalogue.decisions.take_back(record.experiment, reason, now)
    # Without this, one that was in no visit would be known, and not asked for.
    note = "its release was taken back"
    catalogue.notifications.note({record.experiment: ("", note)}, (), now)


def refetch(
    catalogue: Catalogue, record: CopyRecord, now: datetime, rules: DestinationRules | None = None
) -> Path:
    """Mark a copy to be fetched again; returns its destination.

    With `rules`, a copy of a project goes to the destination that they give; its old place is
    forgotten.

    Raises:
        CopyRefused: nothing can be fetched, or not to that place.
        CatalogueError: the catalogue cannot be used.
    """
    copy = record.copy
    records = catalogue.overview.records([copy.epn.text])
    matching = (item for item in records if _is_of(item, copy))
    experiment = next(matching, ExperimentRecord(copy.experiment))
    if experiment.vanished is not None:
        raise CopyRefused(
            f"{name_of(copy.experiment)} is no longer at the facility: nothing can be fetched",
            hint=f"`asynchy copies move {copy.epn} FOLDER` if it is elsewhere, or `forget`",
        )
    config_path = rules.place_of(experiment) if rules is not None and copy.project else None
    if config_path is None or config_path == copy.destination:
        _require_no_file(record)
        catalogue.decisions.refetch(record, now)
        return copy.destination
    existing = experiment.copy_at(config_path)
    if existing is not None and existing.completed is not None:
        raise CopyRefused(
            f"{copy.epn} is complete in {escaped(str(config_path))}, where the config asks for it",
            hint="to fetch that copy again, name it with --copy; `asynchy copies forget` "
            "releases the other",
        )
    assert rules is not None
    reason = f"to be fetched again to {config_path}"
    catalogue.decisions.refetch(record, now, forget_reason=reason)
    project = rules.project_of(copy.epn) or copy.project
    catalogue.notifications.note({copy.experiment: (project, "to be fetched again")}, (), now)
    return config_path


def _is_of(record: ExperimentRecord, copy: Copy) -> bool:
    return record.experiment == copy.experiment


def _require_no_file(record: CopyRecord) -> None:
    """Refuse to fetch to a place that has a file or a link: nothing would be written there."""
    if record.presence in (Presence.FILE, Presence.LINK):
        raise CopyRefused(
            f"{escaped(str(record.copy.destination))} {record.presence.value}",
            hint="move it away first, or name where the files are: `asynchy copies move "
            f"{record.copy.epn} FOLDER`",
        )
