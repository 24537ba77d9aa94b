"""Earlier versions of files that are kept beside a copy: counted, reported, and removed in time.

Both engines keep what they replace in a folder of its own for each run. It stays for
`keep-replaced` days, and longer while the copy is not complete and proven by content again, or
while the place of a kept file has less than the kept one: a smaller file, zeros where there were
data, or nothing; or while the two cannot be compared. Only a person removes those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.localfs.file_listing import files_below
from asynchy.localfs.kept_files import (
    CHANGED_AT_HOME,
    REPLACED,
    UNREPORTED,
    KeptFolder,
    dated_folders,
    folder_beside,
    remove,
    remove_if_empty,
    rename,
)
from asynchy.localfs.lost_data import has_lost_data
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.copy_record import CopyRecord, Presence, Replaced
from asynchy.model.experiment import Copy
from asynchy.model.formatting import count, escaped, size
from asynchy.model.plan_overview import replaced_sentence
from asynchy.model.verification import is_edited
from asynchy.runtime.context import RunContext

log = logging.getLogger(__name__)

_LINK = stat.S_IFLNK
_MAX_NAMED = 10
"""Files that are named in the log."""


@dataclass(frozen=True)
class _KeptVersions:
    """An earlier version of a file."""

    path: bytes
    file_stat: os.stat_result
    now: int | None
    """Bytes of the facility's file in its place; None: there is none."""
    zeros: bool | None
    """Whether that file has zeros where the kept one has data; None: one cannot be read."""

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.file_stat.st_size

    @property
    def by_less(self) -> bool:
        return self.now is None or self.now < self.size or self.zeros is not False

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is in its place: no file, no bytes, or zeros."""
        return not self.now or self.zeros is not False

    @property
    def outcome(self) -> str:
        """The fate of the file, as text for people."""
        if self.now is None:
            return f"is not in its place; the earlier version has {size(self.size)}"
        sizes = f"{size(self.now)}, before {size(self.size)}"
        if self.zeros is None:
            return "or the earlier version cannot be read, so that the two cannot be compared"
        if self.zeros and self.now >= self.size:
            return f"has zeros at the facility now where it had data: {sizes}"
        return f"became smaller at the facility: {sizes}"


def report_replaced(context: RunContext, copy: Copy, copy_id: int) -> None:
    """Log the files that runs replaced and kept, also killed runs; store how many are kept in all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy_files = context.catalogue.copy_files(copy_id)
    parent = folder_beside(copy, REPLACED)
    try:
        folders = [folder for _, folder in dated_folders(copy, parent)]
        unreported = [folder for folder in folders if folder.name.endswith(UNREPORTED)]
        total = _total(copy, copy_files, [folder for folder in folders if folder not in unreported])
        reported = Replaced()
        for folder in unreported:
            reported += _report_run(copy, copy_files, folder)
        for folder in folders:
            remove_if_empty(copy, folder)
    except OSError as error:
        log.error("%s: earlier versions in %s cannot be counted: %s", copy.epn, parent, error)
        return
    context.catalogue.note_replaced(
        copy_id, total + reported, context.clock.now() if reported.files else None
    )


def _report_run(copy: Copy, copy_files: CopyFiles, folder: Path) -> Replaced:
    """Log and return the files that one run replaced, and give its folder the final name.

    Files that people had changed since they arrived get a folder of their own.
    """
    name = folder.name.removesuffix(UNREPORTED)
    edited_folder = folder.with_name(f"{name}{CHANGED_AT_HOME}")
    by_facility, of_people, reduced = Replaced(), Replaced(), _Named()
    with SafeTree(folder, copy.project_folder) as tree, KeptFolder(copy, edited_folder) as edited:
        for version in _kept_in(copy, folder):
            recorded = copy_files.recorded(version.path)
            if recorded is None or not is_edited(version.file_stat, recorded):
                by_facility += Replaced(1, version.size, int(version.by_less))
                is_less = version.by_less
            else:
                edited.move(tree, version.path)
                tree.drop_empty_folders(version.path)
                of_people += Replaced(1, version.size)
                is_less = version.is_gone
            if is_less:
                reduced.add(version)
    if of_people.files:
        log.warning(
            "%s: the facility's version replaced %s changed at home; these versions are kept in %s",
            copy.epn, count(of_people.files, "file that was", "files that were"), edited_folder,
        )  # fmt: skip
    if by_facility.files:
        log.warning(
            "%s: the facility's version replaced %s (%s); the earlier ones are kept in %s",
            copy.epn, count(by_facility.files, "file"), size(by_facility.bytes),
            rename(copy, folder, name),
        )  # fmt: skip
    reduced.log(copy)
    return by_facility + of_people


class _Named:
    """The first few of some kept files, for the log, and how many there are."""

    def __init__(self) -> None:
        self._shown: list[_KeptVersions] = []
        self._more = 0

    def add(self, version: _KeptVersions) -> None:
        if len(self._shown) < _MAX_NAMED:
            self._shown.append(version)
        else:
            self._more += 1

    def log(self, copy: Copy) -> None:
        for version in self._shown:
            log.warning("%s: %s %s", copy.epn, escaped(version.path), version.outcome)
        if self._more:
            log.warning("%s: and %s more", copy.epn, count(self._more, "file"))


def remove_old(
    context: RunContext, records: Iterable[CopyRecord], keep: timedelta | None
) -> list[str]:
    """Remove versions that were kept long enough, and count the rest; returns the problems.

    `keep`: for how long; None: for ever.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    problems = []
    for record in records:
        if not record.replaced.files or record.claim is not None:
            continue
        try:
            copy_files = context.catalogue.copy_files(record.id)
            if keep is not None:
                _remove_old_of(record, copy_files, context.clock.now() - keep)
            total = _counted(record, copy_files)
        except OSError as error:
            path = escaped(os.fspath(error.filename or record.copy.destination))
            problem = f"{record.copy.epn}: earlier versions of files: {path}: {error.strerror}"
            log.error("%s", problem)
            problems.append(problem)
            continue
        if total != record.replaced:
            context.catalogue.note_replaced(record.id, total, None)
    return problems


def with_less(context: RunContext, copies: Collection[Copy] | None = None) -> list[str]:
    """A sentence for each copy with a kept file whose place has less data now.

    `copies`: only these; None: all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return [
        replaced_sentence(record)
        for record in context.catalogue.overview.replaced()
        if record.replaced.by_less and (copies is None or record.copy in copies)
    ]


def _remove_old_of(record: CopyRecord, copy_files: CopyFiles, until: datetime) -> None:
    copy = record.copy
    for time, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
        if time >= until or not _is_proven_since(record, time):
            continue
        of_people = CHANGED_AT_HOME in folder.name
        kept = _kept_in(copy, folder, copy_files)
        if any(version.is_gone if of_people else version.by_less for version in kept):
            continue
        remove(copy, folder)
        log.info("%s: removed earlier versions of files: %s", copy.epn, folder)


def _is_proven_since(record: CopyRecord, time: datetime) -> bool:
    """Whether all of a copy is at home and was proven after some of its files were replaced.

    Size and time of a file, which are all that level `size` knows, come from who replaced it.
    """
    is_sound = record.completed is not None and not record.suspect and not record.is_damaged
    is_there = record.presence is Presence.THERE and not record.edited
    proven = record.is_proven_by_content and record.verified is not None and record.verified > time
    return (
        is_sound
        and is_there
        and proven
        and record.completed is not None
        and record.completed > time
    )


def _counted(record: CopyRecord, copy_files: CopyFiles) -> Replaced:
    """The kept files of a copy; their content is read only if they are not those counted before."""
    folders = [path for _, path in dated_folders(record.copy, folder_beside(record.copy, REPLACED))]
    sizes = [file_size for folder in folders for file_size in _sizes(record.copy, folder)]
    recorded = record.replaced
    unchanged = (len(sizes), sum(sizes)) == (recorded.files, recorded.bytes)
    return recorded if unchanged else _total(record.copy, copy_files, folders)


def _sizes(copy: Copy, folder: Path) -> Iterator[int]:
    with SafeTree(folder, copy.project_folder) as kept_tree:
        for path in files_below(kept_tree, lambda _folder, _error: None, others=True):
            file_stat = kept_tree.find(path)
            if file_stat is not None:
                yield file_stat.st_size


def _total(copy: Copy, copy_files: CopyFiles, folders: Iterable[Path]) -> Replaced:
    files = size = reduced = 0
    for folder in folders:
        of_people = CHANGED_AT_HOME in folder.name
        for version in _kept_in(copy, folder, copy_files):
            files, size = files + 1, size + version.size
            reduced += version.is_gone if of_people else version.by_less
    return Replaced(files, size, reduced)


def _kept_in(
    copy: Copy, folder: Path, copy_files: CopyFiles | None = None
) -> Iterator[_KeptVersions]:
    """The files in the folder of one run, each with the size of the file in its place now.

    `copy_files`: given once the files in their places are recorded. If a person changed one since,
    the larger of the recorded and the present size counts: the facility did not make it smaller.
    """
    with (
        SafeTree(folder, copy.project_folder) as kept_tree,
        SafeTree.of(copy) as tree,
    ):
        for path in files_below(kept_tree, lambda _folder, _error: None, others=True):
            kept_stat = kept_tree.find(path)
            if kept_stat is None:
                continue
            now = tree.find(path)
            zeros: bool | None = False
            if (
                now is not None
                and stat.S_IFMT(now.st_mode) == stat.S_IFMT(kept_stat.st_mode) == _LINK
            ):
                size = kept_stat.st_size  # a link with another target is not smaller
            elif now is None or not stat.S_ISREG(now.st_mode):
                size = None
            elif (arrived := _edited_since(copy_files, path, now)) is not None:
                size = max(arrived, now.st_size)
            else:
                size = now.st_size
                zeros = _has_lost_data(tree, kept_tree, path, min(kept_stat.st_size, size))
            yield _KeptVersions(path, kept_stat, size, zeros)


def _edited_since(copy_files: CopyFiles | None, path: bytes, now: os.stat_result) -> int | None:
    """The size of a file when it arrived, if a person has changed it since; None: nobody has."""
    arrived = None if copy_files is None else copy_files.recorded(path)
    return None if arrived is None or not is_edited(now, arrived) else arrived[0]


def _has_lost_data(tree: SafeTree, kept_tree: SafeTree, path: bytes, size: int) -> bool | None:
    """Whether a file has zeros where the kept one has data; None: one of them cannot be read."""
    try:
        with contextlib.ExitStack() as stack:
            new_file = stack.enter_context(open(tree.open(path), "rb"))  # noqa: PTH123
            kept_file = stack.enter_context(open(kept_tree.open(path), "rb"))  # noqa: PTH123
            return has_lost_data(new_file.fileno(), kept_file.fileno(), size)
    except OSError:
        return None
