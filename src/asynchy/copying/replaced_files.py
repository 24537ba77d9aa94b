"""Earlier versions of files that are kept beside a copy: counted, reported, and removed in time.

Both engines keep what they replace in a folder of its own for each run. It stays for
`keep-replaced` days, and longer while the copy is not complete and proven again, or while the place
of a kept file has less than the kept one: a smaller file, zeros where there were data, or nothing.
Only a person removes those.
"""

from __future__ import annotations

import contextlib
import itertools
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
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model import heartbeat
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
_PAGE_BYTES = 4096
_MAX_PAGES = 65_536
"""Pages of a file that are read at most, at equal distances, to see whether it lost data to zeros:
all of a file of 256 MB."""


@dataclass(frozen=True)
class _KeptVersions:
    """An earlier version of a file."""

    path: bytes
    found: os.stat_result
    now: int | None
    """Bytes that the facility's file in its place has; None: nothing is in its place."""
    zeros: bool
    """Whether that file has zeros where the kept one has something else."""

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.found.st_size

    @property
    def by_less(self) -> bool:
        return self.now is None or self.now < self.size or self.zeros

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is in its place: no file, no bytes, or zeros."""
        return not self.now or self.zeros

    @property
    def words(self) -> str:
        """What became of the file, for people."""
        if self.now is None:
            return f"is not in its place; the earlier version has {size(self.size)}"
        if self.zeros and self.now >= self.size:
            return f"has zeros at the facility now where it had data, {size(self.now)}"
        return f"became smaller at the facility: {size(self.now)}, before {size(self.size)}"


def report_replaced(context: RunContext, copy: Copy, copy_id: int) -> None:
    """Log what runs replaced and kept, also one that was killed; store what is kept in all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy_files = context.catalogue.copy_files(copy_id)
    beside = folder_beside(copy, REPLACED)
    try:
        folders = [folder for _, folder in dated_folders(copy, beside)]
        new = [folder for folder in folders if folder.name.endswith(UNREPORTED)]
        total = _total(copy, copy_files, [folder for folder in folders if folder not in new])
        told = Replaced()
        for folder in new:
            told += _report_run(copy, copy_files, folder)
        for folder in folders:
            remove_if_empty(copy, folder)
    except OSError as error:
        log.error("%s: earlier versions in %s cannot be counted: %s", copy.epn, beside, error)
        return
    context.catalogue.note_replaced(
        copy_id, total + told, context.clock.now() if told.files else None
    )


def _report_run(copy: Copy, copy_files: CopyFiles, folder: Path) -> Replaced:
    """Log what one run replaced, which is returned, and give its folder the name that it keeps.

    What is not as it was recorded when it arrived, people had made: that gets a folder of its own.
    """
    name = folder.name.removesuffix(UNREPORTED)
    theirs = folder.with_name(f"{name}{CHANGED_AT_HOME}")
    ours, of_people, less = Replaced(), Replaced(), _Named()
    with SafeTree(folder, copy.project_folder) as tree, KeptFolder(copy, theirs) as kept:
        for one in _kept_in(copy, folder):
            recorded = copy_files.recorded(one.path)
            if recorded is None or not is_edited(one.found, recorded):
                ours += Replaced(1, one.size, int(one.by_less))
                is_less = one.by_less
            else:
                kept.move(tree, one.path)
                tree.drop_empty_folders(one.path)
                of_people += Replaced(1, one.size)
                is_less = one.is_gone
            if is_less:
                less.add(one)
    if of_people.files:
        log.warning(
            "%s: the facility's version replaced %s changed at home; these versions are kept in %s",
            copy.epn, count(of_people.files, "file that was", "files that were"), theirs,
        )  # fmt: skip
    if ours.files:
        log.warning(
            "%s: the facility's version replaced %s (%s); the earlier ones are kept in %s",
            copy.epn, count(ours.files, "file"), size(ours.bytes), rename(copy, folder, name),
        )  # fmt: skip
    less.log(copy)
    return ours + of_people


class _Named:
    """The first few of some kept files, for the log, and how many there are."""

    def __init__(self) -> None:
        self._first: list[_KeptVersions] = []
        self._more = 0

    def add(self, one: _KeptVersions) -> None:
        if len(self._first) < _MAX_NAMED:
            self._first.append(one)
        else:
            self._more += 1

    def log(self, copy: Copy) -> None:
        for one in self._first:
            log.warning("%s: %s %s", copy.epn, escaped(one.path), one.words)
        if self._more:
            log.warning("%s: and %s more", copy.epn, count(self._more, "file"))


def remove_old(
    context: RunContext, records: Iterable[CopyRecord], keep: timedelta | None
) -> list[str]:
    """Remove what has been kept for long enough, and count the rest; what went wrong.

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
            place = escaped(os.fspath(error.filename or record.copy.destination))
            problem = f"{record.copy.epn}: earlier versions of files: {place}: {error.strerror}"
            log.error("%s", problem)
            problems.append(problem)
            continue
        if total != record.replaced:
            context.catalogue.note_replaced(record.id, total, None)
    return problems


def with_less(context: RunContext, copies: Collection[Copy] | None = None) -> list[str]:
    """The copies beside which something is kept that has less in its place now, a sentence each.

    `copies`: those that are looked at; None: all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return [
        replaced_sentence(one)
        for one in context.catalogue.overview.replaced()
        if one.replaced.by_less and (copies is None or one.copy in copies)
    ]


def _remove_old_of(record: CopyRecord, copy_files: CopyFiles, before: datetime) -> None:
    copy = record.copy
    for when, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
        if when >= before or not _is_proven_since(record, when):
            continue
        of_people = CHANGED_AT_HOME in folder.name
        kept = _kept_in(copy, folder, copy_files)
        if any(one.is_gone if of_people else one.by_less for one in kept):
            continue
        remove(copy, folder)
        log.info("%s: removed earlier versions of files: %s", copy.epn, folder)


def _is_proven_since(record: CopyRecord, when: datetime) -> bool:
    """Whether all of a copy is at home and was proven after some of its files were replaced."""
    sound = record.completed is not None and not record.suspect and not record.is_damaged
    there = record.presence is Presence.THERE and not record.edited
    proven = record.level is not None and record.verified is not None and record.verified > when
    return sound and there and proven and record.completed is not None and record.completed > when


def _counted(record: CopyRecord, copy_files: CopyFiles) -> Replaced:
    """What is kept of a copy now; files are read only if others are kept than were counted."""
    found = [path for _, path in dated_folders(record.copy, folder_beside(record.copy, REPLACED))]
    sizes = [one for folder in found for one in _sizes(record.copy, folder)]
    known = record.replaced
    same = (len(sizes), sum(sizes)) == (known.files, known.bytes)
    return known if same else _total(record.copy, copy_files, found)


def _sizes(copy: Copy, folder: Path) -> Iterator[int]:
    with SafeTree(folder, copy.project_folder) as kept:
        for path in files_below(kept, lambda _folder, _error: None, others=True):
            found = kept.find(path)
            if found is not None:
                yield found.st_size


def _total(copy: Copy, copy_files: CopyFiles, folders: Iterable[Path]) -> Replaced:
    files = size = less = 0
    for folder in folders:
        of_people = CHANGED_AT_HOME in folder.name
        for one in _kept_in(copy, folder, copy_files):
            files, size = files + 1, size + one.size
            less += one.by_less and not of_people
    return Replaced(files, size, less)


def _kept_in(
    copy: Copy, folder: Path, copy_files: CopyFiles | None = None
) -> Iterator[_KeptVersions]:
    """The files in the folder of one run, each with what is in its place now.

    `copy_files`, once it is recorded what took their places: if a person changed that since, the
    larger of what arrived and what is there counts. The facility did not make it smaller.
    """
    with (
        SafeTree(folder, copy.project_folder) as kept,
        SafeTree.of(copy) as tree,
    ):
        for path in files_below(kept, lambda _folder, _error: None, others=True):
            before = kept.find(path)
            if before is None:
                continue
            now, zeros = tree.find(path), False
            if now is not None and stat.S_IFMT(now.st_mode) == stat.S_IFMT(before.st_mode) == _LINK:
                size = before.st_size  # one that leads to another place is no less
            elif now is None or not stat.S_ISREG(now.st_mode):
                size = None
            elif (arrived := _edited_since(copy_files, path, now)) is not None:
                size = max(arrived, now.st_size)
            else:
                size = now.st_size
                zeros = _has_new_zeros(tree, kept, path, min(before.st_size, size))
            yield _KeptVersions(path, before, size, zeros)


def _edited_since(copy_files: CopyFiles | None, path: bytes, now: os.stat_result) -> int | None:
    """The size with which a file arrived that a person changed since; None: nobody did."""
    arrived = None if copy_files is None else copy_files.recorded(path)
    return None if arrived is None or not is_edited(now, arrived) else arrived[0]


def _has_new_zeros(tree: SafeTree, kept: SafeTree, path: bytes, size: int) -> bool:
    """Whether some page of a file has only zeros and the kept one's does not."""
    step = max(_PAGE_BYTES, -(-size // _MAX_PAGES // _PAGE_BYTES) * _PAGE_BYTES)
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # it cannot be read
        new = stack.enter_context(open(tree.open(path), "rb"))  # noqa: PTH123
        old = stack.enter_context(open(kept.open(path), "rb"))  # noqa: PTH123
        for start in itertools.chain(range(0, size, step), [max(0, size - _PAGE_BYTES)]):
            heartbeat.beat()
            length = min(_PAGE_BYTES, size - start)
            page = os.pread(new.fileno(), length, start)
            if not any(page) and any(os.pread(old.fileno(), length, start)):
                return True
    return False
