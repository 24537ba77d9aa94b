"""Whether what the catalogue calls complete is at its place at home: one look for each copy."""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.experiment_record import ExperimentRecord

_LINKS = 2
"""Of a folder without folders in it; on some file systems, of every folder, or fewer."""


def with_presence(records: Iterable[ExperimentRecord]) -> list[ExperimentRecord]:
    """The records, with what is at the places of the copies that are or were complete."""
    look = _Look()
    return [_looked(record, look) for record in records]


def copies_with_presence(copies: Iterable[CopyRecord]) -> list[CopyRecord]:
    """Copies, with what is at their places."""
    return list(map(_Look().at, copies))


def _looked(record: ExperimentRecord, look: _Look) -> ExperimentRecord:
    copies = tuple(map(look.at, record.copies))
    same = all(map(operator.is_, copies, record.copies))
    return record if same else replace(record, copies=copies)


class _Look:
    """Looks at places; what is above them is looked at once."""

    def __init__(self) -> None:
        self._mounted: dict[Path, bool] = {}

    def at(self, copy: CopyRecord) -> CopyRecord:
        if not copy.was_complete:
            return copy
        presence = self._presence(copy)
        return copy if presence is copy.presence else replace(copy, presence=presence)

    def _presence(self, copy: CopyRecord) -> Presence:
        place = str(copy.copy.destination)
        try:
            found = os.lstat(place)
            if stat.S_ISLNK(found.st_mode) or _is_behind_a_link(place, copy.copy.project_folder):
                return Presence.LINK
            if not stat.S_ISDIR(found.st_mode):
                return Presence.MISSING
            # More than two links to a folder: there are folders in it.
            if copy.files and found.st_nlink <= _LINKS and _is_empty(place):
                return Presence.EMPTY
        except (FileNotFoundError, NotADirectoryError):
            return Presence.MISSING if self._is_mounted(copy) else Presence.UNMOUNTED
        except OSError:
            return Presence.UNREADABLE
        return Presence.THERE

    def _is_mounted(self, copy: CopyRecord) -> bool:
        """Whether the folder that is never made by us is there, and something in it.

        The folder of a mount that is gone is empty.
        """
        folder = copy.copy.project_folder
        if folder not in self._mounted:
            try:
                self._mounted[folder] = not _is_empty(folder)
            except OSError:
                self._mounted[folder] = False
        return self._mounted[folder]


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
