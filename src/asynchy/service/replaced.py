"""Earlier versions of files that are kept beside a copy: counted, reported, and removed in time.

Both engines keep what they replace in a folder of its own for each run. It stays for
`keep-replaced` days, and longer while the copy is not complete and proven anew, or while the place
of a kept file has less than the kept one: a smaller file, zeros where there were data, or nothing.
Only a person removes those.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.catalogue.held import Holdings
from asynchy.domain import pulse
from asynchy.domain.copy_record import CopyRecord, Presence, Replaced
from asynchy.domain.experiment import Copy
from asynchy.domain.text import count, shown, size
from asynchy.kept_files import (
    REPLACED,
    UNREPORTED,
    KeptFolder,
    dated_folders,
    folder_beside,
    remove,
    remove_if_empty,
    rename,
)
from asynchy.service.site import Site
from asynchy.tree import Tree
from asynchy.verify.walking import files_below

log = logging.getLogger(__name__)

_OF_PEOPLE = "-changed-at-home"
"""The end of the name of a folder with versions that people had made: the facility lost nothing."""
_NAMED = 10
"""Files that are named in the log."""
_PAGE = 4096
_PAGES = 65_536
"""Pages of a file that are read at most, at equal distances, to see whether it lost data to zeros:
all of a file of 256 MB."""


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


def report_replaced(site: Site, copy: Copy, copy_id: int) -> None:
    """Log what runs replaced and kept, also one that was killed; store what is kept in all.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    holdings = site.catalogue.holdings(copy_id)
    told = False
    try:
        for _, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
            if folder.name.endswith(UNREPORTED):
                told |= _report_run(copy, holdings, folder)
            remove_if_empty(copy, folder)
        beside = folder_beside(copy, REPLACED)
        total = _total(copy) if beside.is_dir() else Replaced()
    except OSError as error:
        where = folder_beside(copy, REPLACED)
        log.error("%s: earlier versions in %s cannot be counted: %s", copy.epn, where, error)
        return
    site.catalogue.note_replaced(copy_id, total, site.clock.now() if told else None)


def _report_run(copy: Copy, holdings: Holdings, folder: Path) -> bool:
    """Log what one run replaced, and give its folder the name that it keeps; whether it did."""
    made = list(_kept_in(copy, folder))
    people = _of_people(holdings, made)
    name = folder.name.removesuffix(UNREPORTED)
    if people:
        theirs = _apart(copy, folder, folder.with_name(f"{name}{_OF_PEOPLE}"), people)
        log.warning(
            "%s: the facility's version replaced %s changed at home; these versions are kept in %s",
            copy.epn, count(len(people), "file that was", "files that were"), theirs,
        )  # fmt: skip
    ours = [one for one in made if one not in people]
    if ours:
        kept = rename(copy, folder, name)
        log.warning(
            "%s: the facility's version replaced %s (%s); the earlier ones are kept in %s",
            copy.epn, count(len(ours), "file"), size(sum(one.size for one in ours)), kept,
        )  # fmt: skip
    less = [one for one in ours if one.by_less] + [one for one in people if one.is_gone]
    for one in less[:_NAMED]:
        log.warning("%s: %s %s", copy.epn, shown(one.path), one.words)
    if len(less) > _NAMED:
        log.warning("%s: and %s more", copy.epn, count(len(less) - _NAMED, "file"))
    return bool(made)


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
            total = _counted(record)
        except OSError as error:
            place = shown(os.fspath(error.filename or record.copy.destination))
            problem = f"{record.copy.epn}: earlier versions of files: {place}: {error.strerror}"
            log.error("%s", problem)
            problems.append(problem)
            continue
        if total != record.replaced:
            site.catalogue.note_replaced(record.id, total, None)
    return problems


def _remove_old_of(record: CopyRecord, before: datetime) -> None:
    copy = record.copy
    for when, folder in list(dated_folders(copy, folder_beside(copy, REPLACED))):
        if when >= before or not _is_proven_since(record, when):
            continue
        of_people = folder.name.endswith(_OF_PEOPLE)
        kept = _kept_in(copy, folder)
        if any(one.is_gone if of_people else one.by_less for one in kept):
            continue
        remove(copy, folder)
        log.info("%s: removed earlier versions of files: %s", copy.epn, folder)


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


def _apart(copy: Copy, folder: Path, theirs: Path, people: Iterable[_Kept]) -> Path:
    """Keep what people had made in a folder of its own, which is returned."""
    with Tree(folder, copy.project_folder) as tree, KeptFolder(copy, theirs) as kept:
        for one in people:
            kept.move(tree, one.path)
            tree.drop_empty_folders(one.path)
    return theirs


def _seconds(found: os.stat_result) -> int:
    return found.st_mtime_ns // 1_000_000_000


def _counted(record: CopyRecord) -> Replaced:
    """What is kept of a copy now; files are read only if others are kept than were counted."""
    found = [path for _, path in dated_folders(record.copy, folder_beside(record.copy, REPLACED))]
    sizes = [one for folder in found for one in _sizes(record.copy, folder)]
    known = record.replaced
    same = (len(sizes), sum(sizes)) == (known.files, known.bytes)
    return known if same else _total(record.copy)


def _sizes(copy: Copy, folder: Path) -> Iterator[int]:
    with Tree(folder, copy.project_folder) as kept:
        for path in files_below(kept, lambda _folder, _error: None):
            found = kept.find(path)
            if found is not None:
                yield found.st_size


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
    """Whether some page of a file has only zeros and the kept one's does not."""
    step = max(_PAGE, -(-size // _PAGES // _PAGE) * _PAGE)
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # it cannot be read
        new = stack.enter_context(open(tree.open(path), "rb"))  # noqa: PTH123
        old = stack.enter_context(open(kept.open(path), "rb"))  # noqa: PTH123
        for start in itertools.chain(range(0, size, step), [max(0, size - _PAGE)]):
            pulse.beat()
            length = min(_PAGE, size - start)
            page = os.pread(new.fileno(), length, start)
            if not any(page) and any(os.pread(old.fileno(), length, start)):
                return True
    return False
