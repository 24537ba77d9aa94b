"""Earlier versions of files that are kept beside a copy: counted, reported, and removed in time.

Both engines keep what they replace in a folder of its own for each run. It stays for
`keep-replaced` days, and longer while the copy is not complete and proven anew, or while the place
of a kept file has less than the kept one: a smaller file, zeros where there were data, or nothing.
Only a person removes those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.catalogue.held import Holdings
from asynchy.domain.copy_record import CopyRecord, Presence, Replaced
from asynchy.domain.experiment import Copy
from asynchy.domain.text import count, shown, size
from asynchy.kept_files import (
    REPLACED,
    KeptFolder,
    dated_folders,
    folder_beside,
    remove,
    remove_if_empty,
)
from asynchy.service.site import Site
from asynchy.tree import Tree
from asynchy.verify.walking import files_below

log = logging.getLogger(__name__)

_OF_PEOPLE = "-changed-at-home"
"""The end of the name of a folder with versions that people had made: the facility lost nothing."""
_NAMED = 10
"""Files that are named in the log."""
_BLOCK = 64 << 10
_BLOCKS = 16
"""Blocks of a file that are read, at equal distances, to see whether it lost data to zeros."""


@dataclass(frozen=True)
class _Kept:
    """An earlier version of a file."""

    path: bytes
    size: int
    modified: int
    """Seconds since 1970 in UTC."""
    now: int | None
    """Bytes of the file in its place now; None: there is none."""
    zeros: bool
    """Whether that file has zeros where the kept one has something else."""

    @property
    def by_less(self) -> bool:
        return self.now is None or self.now < self.size or self.zeros

    @property
    def words(self) -> str:
        """What became of the file, for people."""
        if self.now is None:
            return f"is not in its place; the earlier version has {size(self.size)}"
        if self.zeros and self.now >= self.size:
            return f"has zeros at the facility now where it had data, {size(self.now)}"
        return f"became smaller at the facility: {size(self.now)}, before {size(self.size)}"


def report_replaced(site: Site, copy: Copy, copy_id: int, folder: Path) -> None:
    """Log what one run replaced and kept in a folder, and store what is kept of the copy in all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    try:
        made = list(_kept_in(copy, folder)) if folder.is_dir() else []
        people = _apart(copy, folder, _of_people(site.catalogue.holdings(copy_id), made))
        _drop_empty(copy)
        beside = folder_beside(copy, REPLACED)
        total = _total(copy) if beside.is_dir() else Replaced()
    except OSError as error:
        log.error("%s: earlier versions in %s cannot be counted: %s", copy.epn, folder, error)
        return
    if made:
        log.warning(
            "%s: the facility's version replaced %s (%s); the earlier ones are kept in %s",
            copy.epn, count(len(made), "file"), size(sum(one.size for one in made)), folder,
        )  # fmt: skip
    if people:
        log.warning(
            "%s: of these, %s changed at home; these versions are in %s",
            copy.epn, count(len(people), "file was", "files were"), _folder_of_people(folder),
        )  # fmt: skip
    known = site.catalogue.copy_record(copy)
    _tell_of_ended_runs(copy, total.files - len(made), known.replaced.files if known else 0)
    less = [one for one in made if one.by_less and one not in people]
    for one in less[:_NAMED]:
        log.warning("%s: %s %s", copy.epn, shown(one.path), one.words)
    if len(less) > _NAMED:
        log.warning("%s: and %s more", copy.epn, count(len(less) - _NAMED, "file"))
    site.catalogue.note_replaced(copy_id, total, site.clock.now() if made else None)


def remove_old(site: Site, records: Iterable[CopyRecord], keep: timedelta | None) -> list[str]:
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
            if keep is not None:
                _remove_old_of(record, site.clock.now() - keep)
            total = _total(record.copy)
        except OSError as error:
            place = shown(os.fspath(error.filename or record.copy.destination))
            problem = f"{record.copy.epn}: earlier versions of files: {place}: {error.strerror}"
            log.error("%s", problem)
            problems.append(problem)
            continue
        _tell_of_ended_runs(record.copy, total.files, record.replaced.files)
        if total != record.replaced:
            site.catalogue.note_replaced(record.id, total, None)
    return problems


def _remove_old_of(record: CopyRecord, before: datetime) -> None:
    copy = record.copy
    for when, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
        if when >= before or not _is_proven_since(record, when):
            continue
        of_people = folder.name.endswith(_OF_PEOPLE)
        if not of_people and any(one.by_less for one in _kept_in(copy, folder)):
            continue
        remove(copy, folder)
        log.info("%s: removed earlier versions of files: %s", copy.epn, folder)


def _tell_of_ended_runs(copy: Copy, found: int, known: int) -> None:
    """Log how many files runs replaced that were killed before they could say so."""
    if found > known:
        log.warning(
            "%s: a run that was killed replaced %s; the earlier versions are kept beside the copy",
            copy.epn, count(found - known, "file"),
        )  # fmt: skip


def _is_proven_since(record: CopyRecord, when: datetime) -> bool:
    """Whether all of a copy is at home and was proven after some of its files were replaced."""
    sound = record.completed is not None and not record.suspect and not record.damaged
    there = record.presence is Presence.THERE and not record.edited
    proven = record.level is not None and record.verified is not None and record.verified > when
    return sound and there and proven and record.completed is not None and record.completed > when


def _of_people(holdings: Holdings, made: Iterable[_Kept]) -> list[_Kept]:
    """The versions that are not what was recorded when the file arrived: a person made them."""
    recorded = ((one, holdings.recorded(one.path)) for one in made)
    return [one for one, known in recorded if known not in (None, (one.size, one.modified))]


def _apart(copy: Copy, folder: Path, people: list[_Kept]) -> list[_Kept]:
    """Keep what people had made in a folder of its own; what was moved there."""
    if people:
        with (
            Tree(folder, copy.project_folder) as tree,
            KeptFolder(copy, _folder_of_people(folder)) as theirs,
        ):
            for one in people:
                theirs.move(tree, one.path)
                tree.drop_empty_folders(one.path)
    return people


def _folder_of_people(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_OF_PEOPLE}")


def _seconds(found: os.stat_result) -> int:
    return found.st_mtime_ns // 1_000_000_000


def _drop_empty(copy: Copy) -> None:
    """Remove folders of runs in which nothing is kept, such as that of an rsync that was killed."""
    for _, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
        remove_if_empty(copy, folder)


def _total(copy: Copy) -> Replaced:
    files = size = less = 0
    for _, folder in dated_folders(copy, folder_beside(copy, REPLACED)):
        of_people = folder.name.endswith(_OF_PEOPLE)
        for one in _kept_in(copy, folder):
            files, size = files + 1, size + one.size
            less += one.by_less and not of_people
    return Replaced(files, size, less)


def _kept_in(copy: Copy, folder: Path) -> Iterator[_Kept]:
    """The files in the folder of one run, each with what is in its place now."""
    with (
        Tree(folder, copy.project_folder) as kept,
        Tree.of(copy) as tree,
    ):
        for path in files_below(kept, lambda _folder, _error: None):
            before = kept.find(path)
            if before is None:
                continue
            now = tree.find(path)
            if now is None or not stat.S_ISREG(now.st_mode):
                yield _Kept(path, before.st_size, _seconds(before), None, zeros=False)
                continue
            zeros = _has_new_zeros(tree, kept, path, min(before.st_size, now.st_size))
            yield _Kept(path, before.st_size, _seconds(before), now.st_size, zeros)


def _has_new_zeros(tree: Tree, kept: Tree, path: bytes, size: int) -> bool:
    """Whether some block of a file has only zeros and the kept one's does not."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # it cannot be read
        new = tree.open(path)
        stack.callback(os.close, new)
        old = kept.open(path)
        stack.callback(os.close, old)
        for start in range(0, size, max(_BLOCK, size // _BLOCKS)):
            block = os.pread(new, min(_BLOCK, size - start), start)
            if not any(block) and any(os.pread(old, len(block), start)):
                return True
    return False
