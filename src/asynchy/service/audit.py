"""What `asynchy audit` does: copies read again at home, without the facility.

The list of what a copy holds and what lies there are merged in order of path, so that an experiment
of 10^7 files needs no more memory than one of ten.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from asynchy.catalogue import process
from asynchy.catalogue.held import Holdings
from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.level import Check, Damage, Held
from asynchy.domain.text import count, shown
from asynchy.errors import AsynchyError, ExitCode, Stopped
from asynchy.plan.auditing import Share, finding, merged
from asynchy.service.bring import busy
from asynchy.service.progress import Progress
from asynchy.service.site import Site
from asynchy.tree import Tree
from asynchy.verify.reading import Found, Reader, Throttle, threads
from asynchy.verify.walking import files_below

log = logging.getLogger(__name__)

_STORED = 500
"""Findings that are stored at a time."""
_NAMED = 10
"""Files that are named of each kind."""
_LINK = "a symbolic link, which is not followed"


@dataclass(frozen=True)
class Wish:
    """What an audit was asked for."""

    epns: frozenset[str] = frozenset()
    """The copies of these alone; none: all."""
    percent: float = 100.0
    """How much of the files is read."""
    rate: int | None = None
    """Bytes a second at most; None: no limit."""


@dataclass(frozen=True)
class Audited:
    """What an audit found of one copy."""

    record: CopyRecord
    check: Check | None
    """None where it was not looked at."""
    problem: str | None = None
    """Why it was not, or not all of it."""
    superseded: bool = False
    """Whether it is not at its place, and another complete copy of the experiment is."""
    named: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong -> the first of the files."""

    @property
    def good(self) -> bool:
        """Whether nothing is known to be wrong."""
        check = self.check
        wrong = check is not None and (
            check.different or check.edited or check.missing or check.extra
        )
        return self.superseded or (not wrong and self.problem is None)


def in_order(kept: Sequence[CopyRecord]) -> list[CopyRecord]:
    """The copies in the order in which they are audited: the one that waited longest comes first.

    So an audit that is stopped night after night gets around all the same. Numbers tell whose turn
    it is, and no times: a copy that was audited by a wrong clock would wait for years.
    """
    return sorted(kept, key=lambda item: item.last_audit)


def exit_code_of(results: Collection[Audited]) -> ExitCode:
    """DUE where something is wrong, or could not be looked at."""
    return ExitCode.OK if all(result.good for result in results) else ExitCode.DUE


def audit(site: Site, kept: Sequence[CopyRecord], wish: Wish) -> Iterator[Audited]:
    """Audit copies one after the other; each is stored, and told, once it is done.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile; what was found until then is stored.
    """
    throttle = Throttle(wish.rate)
    safe = {
        item.copy.experiment
        for item in kept
        if item.completed is not None and item.presence is Presence.THERE
    }
    for item in in_order(kept):
        holdings = site.catalogue.holdings(item.id)
        if not item.was_complete:
            if wish.epns:
                yield _not_audited(item, "it was never complete")
        elif holdings.empty:
            yield _not_audited(item, "it is not known what it holds")
        elif item.claim is not None:
            yield _not_audited(item, busy(item.copy, item.claim).reason)
        elif item.presence is not Presence.THERE:
            yield _absent(site, item, superseded=item.copy.experiment in safe)
        else:
            yield _audited(site, item, holdings, wish, throttle)


def _audited(
    site: Site, item: CopyRecord, holdings: Holdings, wish: Wish, throttle: Throttle
) -> Audited:
    """Audit one copy; an error that nobody expected costs that copy alone."""
    try:
        return _Audit(site, item, holdings, wish, throttle).run()
    except (AsynchyError, KeyboardInterrupt):
        raise
    except Exception as error:
        log.exception("%s: an error that asynchy did not expect", item.copy.epn)
        return _not_audited(item, f"an error that asynchy did not expect: {error!r}")


class _Audit:
    """One audit of one copy."""

    def __init__(
        self, site: Site, record: CopyRecord, holdings: Holdings, wish: Wish, throttle: Throttle
    ) -> None:
        self._site = site
        self._record = record
        self._copy = record.copy
        self._holdings = holdings
        self._share = Share.of_percent(wish.percent, record.audits)
        self._throttle = throttle
        self._started = site.clock.now()
        self._files = self._bytes = self._digested = 0
        self._wrong: defaultdict[str, list[str]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._marks: list[tuple[Held, Damage | None]] = []
        self._digests: list[tuple[Held, bytes]] = []
        self._marked = False
        self._link: bytes | None = None
        self._closed: dict[bytes, str] = {}
        """Folders that could not be read, with the reason."""

    def run(self) -> Audited:
        files, total = self._holdings.everything().amount()
        progress = Progress(
            self._site.board, self._copy, (files // self._share.of, total // self._share.of),
            "auditing",
        )  # fmt: skip
        reader = Reader(
            self._copy, self._site.stop, threads(), self._throttle, cold=True,
            on_bytes=progress.add,
        )  # fmt: skip
        try:
            with Tree.of(self._copy) as tree:
                for found in reader.read(self._to_read(tree)):
                    self._take(found)
                    progress.add(0, 1)
            return self._end(None)
        except Stopped:
            self._end("stopped")
            raise
        except OSError as error:
            return self._end(f"{shown(error.filename or '')}: {error.strerror}".lstrip(": "))
        finally:
            self._site.board.end(self._copy)

    def _to_read(self, tree: Tree) -> Iterator[Held]:
        """The files of this turn; those that are missing or too many are noted on the way."""
        there = files_below(tree, self._unreadable)
        for file, path in merged(self._holdings.everything(), there):
            if file is None:
                assert path is not None
                self._note("extra", path)
            elif path is None and (reason := self._closed_above(file.path)) is not None:
                self._note(f"not readable ({reason})", file.path)
            elif path is None:
                self._note(Damage.MISSING.value, file.path)
                self._mark(file, Damage.MISSING)
                self._look_for_link(tree, file.path)
            elif self._share.takes(path):
                yield file

    def _look_for_link(self, tree: Tree, path: bytes) -> None:
        """Name the symbolic link, if there is one, for which a file is missing."""
        link = tree.link_on(path)
        if link not in (None, self._link):
            self._link = link
            self._note(_LINK, link)

    def _unreadable(self, folder: bytes, error: OSError) -> None:
        """Note a folder that is closed: a person's own is none of our business."""
        self._closed[folder] = str(error.strerror)
        log.debug("%s: %s: %s", self._copy.epn, shown(folder), error.strerror)

    def _closed_above(self, path: bytes) -> str | None:
        """Why a folder that a file lies in could not be read; None: all could be."""
        above = path
        while above := above.rpartition(b"/")[0]:
            if above in self._closed:
                return self._closed[above]
        return self._closed.get(b".")

    def _take(self, found: Found) -> None:
        file = found.file
        if found.problem is not None:
            self._note(f"not readable ({found.problem})", file.path)
            return
        self._files += 1
        self._bytes += file.size if found.sha256 is not None else 0
        what = finding(file, found.sha256, found.modified)
        damage = found.damage or what.damage
        if what.new_digest is not None:
            self._digested += 1
            self._digests.append((file, what.new_digest))
        if damage is not None:
            self._note(damage.value, file.path)
        if damage is not None or file.damage is not None:
            self._mark(file, damage)
        if len(self._digests) >= _STORED:
            self._store()

    def _mark(self, file: Held, damage: Damage | None) -> None:
        if file.damage is Damage.DIFFERENT or file.damage is damage:
            return  # only the facility can say that it does not differ any more
        self._marks.append((file, damage))
        if len(self._marks) >= _STORED:
            self._store()

    def _note(self, what: str, path: bytes) -> None:
        self._counts[what] += 1
        if len(self._wrong[what]) < _NAMED:
            self._wrong[what].append(shown(path))
            log.debug("%s: %s: %s", self._copy.epn, shown(path), what)

    def _store(self) -> None:
        self._holdings.digest(self._digests)
        if self._marks and self._site.catalogue.unchanged_since(self._record):
            self._holdings.mark(self._marks)
            self._marked = True
        self._digests, self._marks = [], []

    def _end(self, reason: str | None) -> Audited:
        self._store()
        now = self._site.clock.now()
        if self._marked:
            self._holdings.sum_up(now)
        if not self._site.catalogue.unchanged_since(self._record):
            return _not_audited(self._record, "it was worked on meanwhile")
        unreadable = sum(
            number for what, number in self._counts.items() if what.startswith("not readable")
        )
        whole = reason is None
        if unreadable and whole:
            reason = f"{count(unreadable, 'file')} could not be read"
        elif self._link is not None and whole:
            reason = f"{shown(self._link)} is {_LINK}"
        check = Check(
            kind="audit",
            way="at home" if self._share.of == 1 else f"at home, a {_ordinal(self._share.of)}",
            started=self._started,
            ended=now,
            host=process.host(),
            pid=process.me()[0],
            files=self._files,
            bytes=self._bytes,
            different=self._counts[Damage.CHANGED.value],
            edited=self._counts[Damage.EDITED.value],
            missing=self._counts[Damage.MISSING.value],
            extra=self._counts["extra"],
            digested=self._digested,
            reason=reason,
            whole=whole,
        )
        self._site.catalogue.note(self._record.id, check)
        result = Audited(self._record, check, reason, named=dict(self._wrong))
        _tell(result)
        return result


def _absent(site: Site, record: CopyRecord, *, superseded: bool) -> Audited:
    """Store that a copy was not at its place."""
    reason = f"{record.copy.destination} {record.presence.value}"
    now = site.clock.now()
    pid, _ = process.me()
    site.catalogue.note(
        record.id,
        Check(
            "audit", "at home", now, now, process.host(), pid,
            files=0, bytes=0, different=0, missing=0, extra=0, digested=0, edited=0,
            reason=reason, whole=False,
        ),
    )  # fmt: skip
    if superseded:
        reason += f"; another copy is complete: `asynchy copies forget {record.copy.epn}`"
    return replace(_not_audited(record, reason), superseded=superseded)


def _not_audited(record: CopyRecord, why: str | None) -> Audited:
    log.warning("%s: not audited: %s", record.copy.epn, why)
    return Audited(record, None, why)


def _ordinal(number: int) -> str:
    return {2: "half", 3: "third", 4: "quarter"}.get(number, f"{number}th")


def _tell(result: Audited) -> None:
    check, epn = result.check, result.record.copy.epn
    assert check is not None
    if result.good:
        log.info("%s: audited: %s as they were", epn, count(check.files, "file"))
        return
    log.error(
        "%s: audited: %s damaged, %d changed at home, %d missing, %d too many, of %s%s",
        epn, count(check.different, "file"), check.edited, check.missing, check.extra,
        count(check.files, "file"), f"; {check.reason}" if check.reason else "",
    )  # fmt: skip
    for what, names in result.named.items():
        for name in names:
            log.error("%s: %s: %s", epn, what, name)
