"""What `asynchy copies` does: a person decides about copies that are not where they should be.

list     every copy, with what is at its place
move     it is at another place now: checked by size and time, then recorded
forget   it need not be at home any more; the reason is kept
refetch  it is fetched again by the next cycle
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.held import Holdings
from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.epn import Epn
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Damage, Held
from asynchy.domain.text import count, shown
from asynchy.errors import CopyRefused, NothingKnown
from asynchy.plan.auditing import merged
from asynchy.plan.safety import name_of
from asynchy.service.presence import copies_with_presence
from asynchy.tree import Tree
from asynchy.verify.walking import files_below

_NAMED = 3


@dataclass(frozen=True)
class Moved:
    """What was found at the new place of a copy."""

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
    found = [
        one
        for one in catalogue.overview.records([epn.text])
        if beamline is None or one.experiment.beamline == beamline
    ]
    if not found:
        on = f" on {beamline}" if beamline is not None else ""
        raise NothingKnown(
            f"{catalogue.path} does not know {epn}{on}",
            hint=f"check the spelling: `asynchy status {epn}`",
        )
    if len(found) > 1:
        names = ", ".join(one.experiment.beamline or "none" for one in found)
        raise CopyRefused(
            f"{epn} is on {len(found)} beamlines: {names}", hint="name one with --beamline"
        )
    return found[0]


def chosen_copy(catalogue: Catalogue, epn: Epn, place: Path | None) -> CopyRecord:
    """The copy of an EPN, or the one of several that is, or should be, at a place.

    Raises:
        NothingKnown: the catalogue knows no such copy.
        CopyRefused: there are several, and no place is named.
        CatalogueError: the catalogue cannot be used.
    """
    found = copies_with_presence(catalogue.overview.copies([epn.text]))
    if place is not None:
        found = [one for one in found if one.copy.destination == place]
    if not found:
        where = f" in {place}" if place else ""
        raise NothingKnown(
            f"{catalogue.path} knows no copy of {epn}{where}",
            hint=f"`asynchy copies list {epn}` lists those it knows",
        )
    if len(found) > 1:
        places = ", ".join(str(one.copy.destination) for one in found)
        raise CopyRefused(f"{epn} has {len(found)} copies: {places}", hint="name one with --copy")
    record = found[0]
    if record.claim is not None:
        claim = record.claim
        raise CopyRefused(
            f"process {claim.pid} on {claim.host} works on {record.copy.destination}",
            hint="wait until it has ended, or stop it",
        )
    return record


def move(catalogue: Catalogue, record: CopyRecord, destination: Path, folder: Path) -> Moved:
    """Record that a copy is at another place; all its files must be there by size and time.

    `folder` is the one above it that asynchy never makes, such as the project's.

    Raises:
        CopyRefused: files are missing there, or have another size or time.
        DestinationTaken: another experiment has its copy there.
        CatalogueError: the catalogue cannot be used.
    """
    holdings = catalogue.holdings(record.id)
    number, _ = holdings.everything().amount()
    if not destination.is_dir() or destination.is_symlink():
        raise CopyRefused(f"{destination} is not a folder", hint="name the folder of the files")
    wrong = list(_wrong(holdings, destination, folder))
    if wrong or not number:
        names = ", ".join(wrong[:_NAMED])
        one, many = f"file of {number:,} is not there as it was", "are not there as they were"
        what = f"{count(len(wrong), one, f'files of {number:,} {many}')}: {names}"
        raise CopyRefused(
            f"{destination}: {what if number else 'it is not known what the copy holds'}",
            hint=f"`asynchy copies refetch {record.copy.epn}` fetches it again to its old place",
        )
    catalogue.decisions.move(record, destination, folder)
    return Moved(record, destination, number)


def _wrong(holdings: Holdings, destination: Path, folder: Path) -> Iterator[str]:
    """The paths of files that are missing, or have another size or time, escaped."""
    with Tree(destination, folder) as tree:
        there = files_below(tree, lambda _folder, _error: None)
        for file, path in merged(holdings.everything(), there):
            edited = file is not None and file.damage is Damage.EDITED and path is not None
            if file is not None and not edited and (path is None or not _is_same(tree, file)):
                yield shown(file.path)


def _is_same(tree: Tree, file: Held) -> bool:
    found = tree.find(file.path)
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
        return False
    return found.st_mtime_ns // 1_000_000_000 == file.modified


def refetch(catalogue: Catalogue, record: CopyRecord) -> None:
    """Have a copy fetched again.

    Raises:
        CopyRefused: its experiment is no longer at the facility.
        CatalogueError: the catalogue cannot be used.
    """
    epn, experiment = record.copy.epn, record.copy.experiment
    for one in catalogue.overview.records([epn.text]):
        if one.experiment == experiment and one.vanished is not None:
            raise CopyRefused(
                f"{name_of(experiment)} is no longer at the facility: nothing can be fetched",
                hint=f"`asynchy copies move {epn} FOLDER` if it is elsewhere, or `forget`",
            )
    catalogue.decisions.refetch(record)
