"""Whether what the catalogue calls complete is at its place at home: one look for each copy."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from asynchy.catalogue.held_others import HeldOthers
from asynchy.copying.held_links import link_problem
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Copy
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.policy import DestinationRules
from asynchy.model.verification import CopyFile

_LINKS = 2
"""Of a folder without folders in it; on some file systems, of every folder, or fewer."""
_OF_FILE_SYSTEMS = "lost+found"
_SEVERAL = 2

PlacesBelow = Callable[[Path], Iterable[Path]]
"""From the folder of a project to the places of the copies below it that were complete."""


def with_presence(
    records: Iterable[ExperimentRecord], places_below: PlacesBelow | None = None
) -> list[ExperimentRecord]:
    """The records, with what is at the places of the copies that are or were complete.

    `places_below`: needed if these are not all records.
    """
    found = list(records)
    copies = (copy for record in found for copy in record.copies)
    look = _Look(places_below or _below(copies))
    return [_looked(record, look) for record in found]


def filled_places(records: Iterable[ExperimentRecord], rules: DestinationRules) -> frozenset[Path]:
    """The places that the config names and that have data, of experiments whose copies are away.

    So it is once a storage has another path, in the config too.
    """
    found = set()
    for record in records:
        away = [one.copy.destination for one in record.copies if one.was_complete]
        if not away or any(one.presence is Presence.THERE for one in record.copies):
            continue
        place = rules.place_of(record)
        with contextlib.suppress(OSError):
            if place is not None and place not in away and not _is_empty(place):
                found.add(place)
    return frozenset(found)


def copies_with_presence(
    copies: Iterable[CopyRecord], places_below: PlacesBelow | None = None
) -> list[CopyRecord]:
    """Copies, with what is at their places; `places_below` as above."""
    found = list(copies)
    return list(map(_Look(places_below or _below(found)).at, found))


def holds_folders(folder: Path) -> bool:
    """Whether a folder has any other than hidden ones and `lost+found`.

    The folder of a mount that is gone may have a file that says so.

    Raises:
        OSError: it cannot be read, or is not there.
    """
    with os.scandir(folder) as entries:
        return any(
            not entry.is_file(follow_symlinks=False)
            for entry in entries
            if not entry.name.startswith(".") and entry.name != _OF_FILE_SYSTEMS
        )


def missing_mount(folder: Path) -> Path:
    """The folder to name if the one of a project is missing, or has no copy.

    A folder above it, if that is missing, or is there and has no folders: so one message is about
    all projects on one file system.
    """
    there, missing = folder, folder
    while not os.path.lexists(there) and there != there.parent:
        missing, there = there, there.parent
    try:
        return missing if there != folder and holds_folders(there) else there
    except OSError:
        return there


def count_absent(copy: CopyRecord, files: Sequence[CopyFile]) -> int:
    """How many of some files of a copy are missing at home, or have another size or time."""
    try:
        with SafeTree(copy.copy.destination, copy.copy.project_folder) as tree:
            return sum(not file.is_as_arrived(tree.find(file.path)) for file in files)
    except OSError:
        return len(files)


def count_lost_links(copy: CopyRecord, held: HeldOthers, most: int) -> int:
    """How many of the first links and special files of a copy are missing at home, or differ.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    try:
        with SafeTree(copy.copy.destination, copy.copy.project_folder) as tree:
            found = itertools.islice(held, most)
            return sum(link_problem(one, tree) is not None for one in found)
    except OSError:
        return sum(1 for _ in itertools.islice(held, most))


def _below(copies: Iterable[CopyRecord]) -> PlacesBelow:
    """The places of these copies, by the folder of their project; sorted when first asked for."""
    places: defaultdict[Path, list[Path]] = defaultdict(list)

    def below(folder: Path) -> list[Path]:
        for one in copies if not places else ():
            if one.was_complete:
                places[one.copy.project_folder].append(one.copy.destination)
        return places[folder]

    return below


def _looked(record: ExperimentRecord, look: _Look) -> ExperimentRecord:
    copies = tuple(map(look.at, record.copies))
    same = all(map(operator.is_, copies, record.copies))
    return record if same else replace(record, copies=copies)


class _Look:
    """Looks at places; what is above them is looked at once."""

    def __init__(self, places_below: PlacesBelow) -> None:
        self._places_below = places_below
        self._missing: dict[Path, Path | None] = {}
        self._bare: dict[Path, bool] = {}
        self._copies: dict[Path, Counter[Path]] = {}
        """By the folder of a project: how many complete copies are below each folder in it."""

    def at(self, copy: CopyRecord) -> CopyRecord:
        if not copy.was_complete:
            return copy
        presence, mount = self._presence(copy), None
        if presence is Presence.MISSING and (mount := self._mount_above(copy.copy)) is not None:
            presence = Presence.UNMOUNTED
        elif presence is Presence.MISSING:
            mount = self._bare_above(copy.copy)
            if mount is not None and self._number_below(mount, copy.copy) >= _SEVERAL:
                presence = Presence.UNMOUNTED
        if presence is copy.presence and mount == copy.mount:
            return copy
        return replace(copy, presence=presence, mount=mount)

    @staticmethod
    def _presence(copy: CopyRecord) -> Presence:
        place = str(copy.copy.destination)
        try:
            found = os.lstat(place)
            if stat.S_ISLNK(found.st_mode) or _is_behind_a_link(place, copy.copy.project_folder):
                return Presence.LINK
            # More than two links to a folder: there are folders in it.
            may_be_empty = bool(copy.files) and found.st_nlink <= _LINKS
            if stat.S_ISDIR(found.st_mode):
                empty = may_be_empty and _is_empty(place)
                return Presence.EMPTY if empty else Presence.THERE
        except FileNotFoundError:
            return Presence.MISSING
        except NotADirectoryError:
            pass
        except OSError:
            return Presence.UNREADABLE
        return Presence.FILE

    def _mount_above(self, copy: Copy) -> Path | None:
        """The project's folder of a missing copy, or one above, that is missing or has no copy.

        It is never made by us. None: it has some copy.
        """
        project = copy.project_folder
        if project not in self._missing:
            self._missing[project] = missing_mount(project) if self._lacks(project) else None
        return self._missing[project]

    def _bare_above(self, copy: Copy) -> Path | None:
        """The folder between a missing copy and its project's that is missing, or has no folders.

        It may be a mount point, which an automounter removes with the mount. None: there is none.
        """
        project = copy.project_folder
        if project not in copy.destination.parents:
            return None
        missing = copy.destination
        while not os.path.lexists(missing.parent):
            missing = missing.parent
        nearest = missing.parent
        if nearest != project and nearest not in self._bare:
            self._bare[nearest] = self._is_bare(nearest)
        if nearest != project and self._bare[nearest]:
            return nearest
        return None if missing == copy.destination else missing

    def _number_below(self, folder: Path, copy: Copy) -> int:
        """How many complete copies are below a folder of the copy's project."""
        project = copy.project_folder
        if project not in self._copies:
            self._copies[project] = Counter(
                above for place in self._places_below(project) for above in place.parents
            )
        return self._copies[project][folder]

    def _lacks(self, project: Path) -> bool:
        """Whether the folder of a project is missing, has no folders, or has no part of a copy."""
        try:
            return not holds_folders(project) or self._lacks_all(project)
        except OSError:
            return True

    @staticmethod
    def _is_bare(folder: Path) -> bool:
        """Whether a folder has no folders; one that cannot be read may have some."""
        try:
            return not holds_folders(folder)
        except OSError:
            return False

    def _lacks_all(self, folder: Path) -> bool:
        """Whether several copies were complete below a folder, and it has nothing of any."""
        number = 0
        for top in _tops(folder, self._places_below(folder)):
            if os.path.lexists(top):
                return False
            number += 1
        return number >= _SEVERAL


def _tops(folder: Path, places: Iterable[Path]) -> Iterator[Path]:
    """The first folder on the way from a folder to each place below it."""
    for place in places:
        if folder in place.parents:
            yield folder / place.relative_to(folder).parts[0]


def _is_behind_a_link(place: str, project_folder: Path) -> bool:
    """Whether a folder between the project's and the copy's is a symbolic link."""
    top = str(project_folder)
    folder = place.rpartition("/")[0]
    while folder not in (top, ""):
        if stat.S_ISLNK(os.lstat(folder).st_mode):
            return True
        folder = folder.rpartition("/")[0]
    return False


def _is_empty(folder: Path | str) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None
