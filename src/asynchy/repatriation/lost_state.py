"""Detects that `ignore.yml` or the catalogue is missing although it existed.

Without them no copy is known to be at home, no EPN is known to be skipped, and reports are empty.
The usual cause is a file system that is not mounted, or a wrong path in the config. So a cycle that
writes ends before it makes a new file in place of the missing one.

The catalogue remembers the `ignore.yml` that it was used with. `ignore.yml` names the catalogue
in a comment, which a person may remove; then the marks of our entries tell, or the backups beside
the catalogue. If both are missing, data at the places of experiments at home tell. A new catalogue
that was rebuilt while the folder of a project was missing or empty, or the facility could not be
listed, does not know all that is at home: no cycle writes until it was rebuilt once more, or a
person accepts it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.backups import backups, folder_of
from asynchy.catalogue.state_markers import Markers, StateMarkers
from asynchy.config import Settings
from asynchy.config.file_access import reachable
from asynchy.config.ignore_file import IgnoreEntries, IgnoreFile
from asynchy.errors import StateLost
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress, beside
from asynchy.model.formatting import count
from asynchy.repatriation.home_places import is_filled

log = logging.getLogger(__name__)

_ACCEPT = "`mxsync --execute --once --new-state` accepts the loss"
_MAX_NAMED = 10
_NOT_COUNTED = (".lock", ".log", ".service", ".walk", ".web-key", "-shm", "-wal")
"""Ends of the names of files that are made in passing, in a folder that is not mounted, too."""


class LostState(Enum):
    """Which of the two is missing."""

    IGNORE_FILE = auto()
    CATALOGUE = auto()
    BOTH = auto()


@dataclass(frozen=True)
class StateFiles:
    """The paths of the two, and the records that each has of itself and of the other."""

    ignore: Path
    catalogue: CatalogueAddress
    entries: IgnoreEntries
    markers: Markers
    has_backups: bool = False
    """Whether backups of a catalogue are beside the place of this one."""

    @property
    def is_new(self) -> bool:
        """Whether there is no sign that either was ever used."""
        return not self.markers.in_use and not self.entries.has_list

    @property
    def must_compare(self) -> bool:
        """Whether all that is at home has to be compared before a cycle may write."""
        return self.is_new or bool(self.markers.not_there or self.markers.unlisted)

    def lost(self, at_home: Iterable[Path] = ()) -> LostState | None:
        """Which of the two is missing; `at_home`: places of experiments at home that hold data."""
        if self.markers.in_use:
            missing = self.markers.ignore_entries and not self.entries.has_list
            return LostState.IGNORE_FILE if missing else None
        # An empty list beside a missing catalogue is how a person starts again.
        used = self.has_backups and (self.entries.epns or not self.entries.has_list)
        if self.entries.catalogue is not None or self.entries.ours or used:
            return LostState.CATALOGUE
        return LostState.BOTH if not self.entries.has_list and any(at_home) else None


def read_state_files(settings: Settings, *, write: bool) -> StateFiles:
    """Look at both; with `write`, a catalogue of an older version is upgraded, but none is made.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    path = settings.catalogue_address
    entries = IgnoreFile(settings.ignore).read()
    if write and Catalogue.exists(path):
        Catalogue.open(path)  # it takes over a database of the original asynchy
        markers = StateMarkers.open(path).read()
    else:
        markers = StateMarkers.open_readonly(path).read()
    return StateFiles(
        settings.ignore, path, entries, markers, has_backups=bool(backups(beside(path)))
    )


def lost_error(files: StateFiles, at_home: Iterable[Path] = ()) -> StateLost | None:
    """The error to end with if something is missing: what, where to look, what to do.

    `at_home`: the places at home that hold data; looked for only if it matters.
    """
    data = list(at_home) if files.is_new else []
    lost_state = files.lost(data)
    if lost_state is None:
        return _unfinished_rebuild(files)
    if lost_state is LostState.IGNORE_FILE:
        return _lost_ignore_file(files)
    if lost_state is LostState.CATALOGUE:
        return _lost_catalogue(files)
    return _lost_both(files, data)


def lost_catalogue(files: StateFiles) -> StateLost | None:
    """The error if the catalogue is missing, or new, although `ignore.yml` or backups name one."""
    return _lost_catalogue(files) if files.lost() is LostState.CATALOGUE else None


def lost_without_ignore_file(catalogue: CatalogueAddress) -> StateLost | None:
    """The same for a config without an `ignore.yml`: only backups show that a catalogue existed."""
    if not isinstance(catalogue, Path) or Catalogue.exists(catalogue) or not backups(catalogue):
        return None
    return StateLost(
        f"{catalogue} is missing or empty, but backups of it are in {folder_of(catalogue)}, so "
        f"there was one{_mount_hint(catalogue)}",
        hint="mount its file system, correct its path in the config, or run `asynchy catalogue "
        "restore`; to begin with a new one, move the folder of the backups away",
    )


def another_ignore_file(files: StateFiles) -> str | None:
    """That the config names another `ignore.yml` than the cycle before, which is still there."""
    previous = files.markers.ignore_file
    if previous is None or not files.entries.has_list:
        return None
    with contextlib.suppress(OSError):
        if not files.ignore.samefile(previous):
            return (
                f"ignore.yml is {files.ignore} now, and was {previous} before: what that one skips "
                "is not skipped any more; copy its entries, or let `ignore` name it"
            )
    return None


def lost_since_begin(files: StateFiles) -> StateLost | None:
    """The error if something has gone since this cycle called `begin`."""
    error = lost_error(files)
    if error is not None or files.markers.in_use:
        return error
    return StateLost(
        f"{files.ignore} and the catalogue {files.catalogue} went away during the cycle"
        f"{_mount_hint(files.ignore, files.catalogue)}",
        hint="mount their file system, or restore them from a backup",
    )


def begin(files: StateFiles, not_there: Sequence[Path] = (), unlisted: Sequence[str] = ()) -> None:
    """Note in the catalogue that it is in use from now on, and what was accepted as lost.

    `not_there`: the folders of projects that were missing or empty when it was rebuilt. `unlisted`:
    why the facility could not be listed then; ignored if the catalogue was complete.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    accepted = files.lost() is LostState.IGNORE_FILE
    markers_before = files.markers
    is_open = bool(markers_before.not_there or markers_before.unlisted)
    if markers_before.in_use and not is_open:
        unlisted = ()
    if accepted or not markers_before.in_use or is_open or not_there:
        markers = StateMarkers.open(files.catalogue)
        markers.begin(forget_ignore_file=accepted, not_there=not_there, unlisted=unlisted)


def warn_of_entries(files: StateFiles) -> None:
    """Log what in `ignore.yml` means nothing, and that a person seems to have emptied it."""
    for warning in files.entries.warnings:
        log.warning("%s", warning)
    entries_before = files.markers.ignore_entries
    if files.entries.has_list and entries_before and not files.entries.epns:
        log.warning(
            "%s: the list is empty, and had %s after the last cycle; every experiment is compared "
            "again. If nobody emptied it on purpose, restore it from a backup",
            files.ignore,
            count(entries_before, "entry", "entries"),
        )


def warn_of_copied_entries(path: Path, entries: IgnoreEntries, catalogue: Catalogue) -> None:
    """Log entries that are marked as asynchy's, but are not: they skip nothing.

    A person may have copied a line of asynchy's, with its comment, to skip another EPN.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    unwritten = catalogue.ignore_entries.unwritten({epn.text for epn in entries.ours})
    if not unwritten:
        return
    line_numbers = {epn.text: line for epn, line in entries.lines.items()}
    names = [
        f"{epn} (line {line_numbers[epn]})" if line_numbers.get(epn) else epn
        for epn in sorted(unwritten)
    ]
    rest = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    log.warning(
        "%s: the comment of %s says that asynchy wrote the entry, but this catalogue did not; "
        "this entry skips nothing. Remove the comment `# asynchy` of one that is to be skipped. "
        "After the catalogue was restored, they are those since its backup",
        path,
        f"{', '.join(names[:_MAX_NAMED])}{rest}",
    )


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _lost_ignore_file(files: StateFiles) -> StateLost:
    known_path = files.markers.ignore_file or str(files.ignore)
    entries = count(files.markers.ignore_entries, "entry", "entries")
    condition = "has no list" if _has_content(files.ignore) else "is missing or empty"
    return StateLost(
        f"{files.ignore} {condition}, but the catalogue {files.catalogue} was used with "
        f"{_same_or(known_path, files.ignore)}, which had {entries}{_mount_hint(files.ignore)}",
        hint=f"{_elsewhere(known_path, files.ignore, 'ignore')}; {_ACCEPT}: EPNs that were skipped "
        "by hand are fetched then",
    )


def _lost_catalogue(files: StateFiles) -> StateLost:
    known_path = files.entries.catalogue or ""
    condition = "is new" if Catalogue.exists(files.catalogue) else "is missing or empty"
    if known_path:
        evidence = (
            f"{files.ignore} says that it was used with {_same_or(known_path, files.catalogue)}"
        )
    elif files.entries.ours:
        evidence = f"{files.ignore} has entries that asynchy wrote (`# asynchy`), so there was one"
    else:
        evidence = f"backups of it are in {folder_of(beside(files.catalogue))}, so there was one"
    return StateLost(
        f"{files.catalogue} {condition}, but {evidence}{_mount_hint(files.catalogue)}",
        hint=f"{_elsewhere(known_path, files.catalogue, 'catalogue')}{_backup(files.catalogue)}; "
        "`asynchy catalogue rebuild` "
        f"compares everything at home and makes a new one; {_ACCEPT}: then nothing is known to be "
        "proven; the entries of ignore.yml that end with `# asynchy` are compared again, and all "
        "others skip their EPNs",
    )


def _lost_both(files: StateFiles, at_home: list[Path]) -> StateLost:
    number_more = len(at_home) - 1
    rest = f" (and {count(number_more, 'more place')})" if number_more else ""
    mount_hint = _mount_hint(files.ignore, files.catalogue)
    return StateLost(
        f"neither {files.ignore} nor the catalogue {files.catalogue} is in use yet, but data of an "
        f"experiment are in {at_home[0]}{rest}{mount_hint}",
        hint="mount their file system, correct `ignore` and `catalogue` in the config, or restore "
        "them from a backup; `asynchy catalogue rebuild` compares everything at home; "
        f"{_ACCEPT}, and is right if asynchy was never used here: what is at home is compared, not "
        "fetched again",
    )


def _unfinished_rebuild(files: StateFiles) -> StateLost | None:
    """The error if the latest rebuild could not look at all that is at home."""
    markers = files.markers
    if markers.unlisted:
        return StateLost(
            f"the facility could not be listed when the catalogue {files.catalogue} was rebuilt "
            f"({markers.unlisted[0]}): it is not known whether what is at home is complete",
            hint=f"run `asynchy catalogue rebuild` again; {_ACCEPT}: what is at home is compared "
            "only if the portal reports a recent visit",
        )
    if not markers.not_there:
        return None
    missing = [path for path in markers.not_there if not is_filled(Path(path))]
    if missing:
        return StateLost(
            f"{_first(missing)} was missing or empty when the catalogue {files.catalogue} was "
            "rebuilt, and still is: what is at home in it is not known, and would be fetched again",
            hint="mount it, and run `asynchy catalogue rebuild` again; "
            f"{_ACCEPT}, and is right if nothing was ever in it",
        )
    return StateLost(
        f"{_first(markers.not_there)} was missing or empty when the catalogue {files.catalogue} "
        "was rebuilt, and is back: what is at home in it was not compared yet",
        hint="run `asynchy catalogue rebuild` again, which compares it; "
        f"{_ACCEPT}, and is right if nothing that asynchy fetched is in it",
    )


def _first(folders: Sequence[str]) -> str:
    """The first of some folders, and how many more there are."""
    number_more = len(folders) - 1
    return folders[0] + (f" (and {count(number_more, 'more folder')})" if number_more else "")


def _backup(catalogue: CatalogueAddress) -> str:
    if not backups(beside(catalogue)):
        return ""
    return " (`asynchy catalogue restore` puts the newest one of asynchy's own in its place)"


def _same_or(known_path: str, path: CatalogueAddress) -> str:
    return "it" if known_path == str(path) else known_path


def _elsewhere(known_path: str, path: CatalogueAddress, key: str) -> str:
    if isinstance(path, PostgresAddress):
        return f"correct `{key}` in the config, or restore it with pg_restore"
    if known_path and known_path != str(path) and reachable(Path(known_path).exists):
        return f"name {known_path} as `{key}` in the config, or move it to {path}"
    return f"mount its file system, correct `{key}` in the config, or restore it from a backup"


def _mount_hint(*places: CatalogueAddress) -> str:
    """A hint that a mount may be missing, from the folders above the missing paths."""
    missing = [place for place in places if isinstance(place, Path)]
    names = frozenset(path.name for path in missing)  # one that was just made does not count
    hints = dict.fromkeys(_folder_hint(path.resolve().parent, names) for path in missing)
    return "".join(hints)


def _folder_hint(folder: Path, but: frozenset[str]) -> str:
    if reachable(folder.exists):
        if not _is_empty(folder, but):
            return ""
        return f". The folder {folder} is empty: is a file system not mounted there?"
    existing_parent = next(parent for parent in folder.parents if reachable(parent.exists))
    empty = f", and {existing_parent} is empty" if _is_empty(existing_parent, but) else ""
    return f". There is no folder {folder}{empty}: is a file system not mounted?"


def _is_empty(folder: Path, but: frozenset[str]) -> bool:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return False
    return all(name in but or name.startswith(".") or name.endswith(_NOT_COUNTED) for name in names)
