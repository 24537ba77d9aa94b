"""What `asynchy audit` does: copies read again at home, without the facility.

The list of what a copy holds and what is there are merged in order of path, so that an experiment
of 10^7 files needs no more memory than one of ten.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.copying.fetch import lease_conflict
from asynchy.copying.held_links import link_problem
from asynchy.errors import AsynchyError, ExitCode, Stopped
from asynchy.localfs import process_identity
from asynchy.localfs.file_hasher import HashResult, Reader, Throttle, threads
from asynchy.localfs.file_listing import files_below
from asynchy.localfs.safe_tree import SafeTree, is_about_one_file
from asynchy.model import heartbeat
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.formatting import count, escaped
from asynchy.model.remote_names import is_wanted
from asynchy.model.verification import Check, CopyFile, Damage
from asynchy.runtime.context import RunContext
from asynchy.runtime.read_progress import ReadProgress
from asynchy.verification.audit_rules import SamplePartition, finding, in_order, merged

log = logging.getLogger(__name__)

_STORE_BATCH = 500
"""Findings that are stored at a time."""
_MAX_NAMED = 10
"""Files that are named of each kind."""
_LINK = "a symbolic link, which is not followed"
_DOT_FILE = "a dot file that asynchy did not bring, and did not look at"


@dataclass(frozen=True)
class AuditRequest:
    """What an audit was asked for."""

    epns: frozenset[str] = frozenset()
    """The copies of these alone; none: all."""
    percent: float = 100.0
    """How much of the files is read."""
    rate: int | None = None
    """Bytes a second at most; None: no limit."""


@dataclass(frozen=True)
class AuditResult:
    """What an audit found of one copy."""

    record: CopyRecord
    check: Check | None
    """None if it was not looked at."""
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


def exit_code_of(results: Collection[AuditResult]) -> ExitCode:
    """INCOMPLETE if something is wrong, or could not be looked at."""
    return ExitCode.OK if all(result.good for result in results) else ExitCode.INCOMPLETE


def audit(
    context: RunContext, kept: Sequence[CopyRecord], wish: AuditRequest
) -> Iterator[AuditResult]:
    """Audit copies one after the other; each is stored, and told, once it is done.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile; what was found until then is stored.
    """
    throttle = Throttle(wish.rate)
    safe = {
        item.copy.experiment
        for item in kept
        if item.completed is not None and item.presence is Presence.THERE
    }
    for item in in_order(kept):
        copy_files = context.catalogue.copy_files(item.id)
        if not item.was_complete:
            if wish.epns:
                yield _not_audited(item, "it was never complete")
        elif copy_files.empty:
            yield _not_audited(item, "it is not known what it holds")
        elif item.claim is not None:
            yield _not_audited(item, lease_conflict(item.copy, item.claim).reason)
        elif item.presence is not Presence.THERE:
            yield _absent(context, item, superseded=item.copy.experiment in safe)
        else:
            yield _audited(context, item, copy_files, wish, throttle)


def _audited(
    context: RunContext,
    item: CopyRecord,
    copy_files: CopyFiles,
    wish: AuditRequest,
    throttle: Throttle,
) -> AuditResult:
    """Audit one copy; an error that nobody expected costs that copy alone."""
    try:
        return _Audit(context, item, copy_files, wish, throttle).run()
    except (AsynchyError, KeyboardInterrupt):
        raise
    except Exception as error:
        log.exception("%s: an error that asynchy did not expect", item.copy.epn)
        return _not_audited(item, f"an error that asynchy did not expect: {error!r}")


class _Audit:
    """One audit of one copy."""

    def __init__(
        self,
        context: RunContext,
        record: CopyRecord,
        copy_files: CopyFiles,
        wish: AuditRequest,
        throttle: Throttle,
    ) -> None:
        self._context = context
        self._record = record
        self._copy = record.copy
        self._holdings = copy_files
        self._others = context.catalogue.held_others(record.id)
        self._lost_links = 0
        self._share = SamplePartition.of_percent(wish.percent, record.audits)
        self._throttle = throttle
        self._started = context.clock.now()
        self._files = self._bytes = self._digested = 0
        self._wrong: defaultdict[str, list[str]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._marks: list[tuple[CopyFile, Damage | None]] = []
        self._digests: list[tuple[CopyFile, bytes]] = []
        self._marked = False
        self._link: bytes | None = None
        self._closed: dict[bytes, str] = {}
        """Folders that could not be read, with the reason."""

    def run(self) -> AuditResult:
        files, total = self._holdings.everything().amount()
        progress = ReadProgress(
            self._context.board, self._copy, (files // self._share.of, total // self._share.of),
            "auditing",
        )  # fmt: skip
        reader = Reader(
            self._copy, self._context.stop, threads(), self._throttle, cold=True,
            on_bytes=progress.add,
        )  # fmt: skip
        try:
            with SafeTree.of(self._copy) as tree:
                for found in reader.read(self._to_read(tree)):
                    self._take(found)
                    progress.add(0, 1)
                self._look_at_links(tree)
            return self._end(None)
        except Stopped:
            self._end("stopped")
            raise
        except OSError as error:
            return self._end(f"{escaped(error.filename or '')}: {error.strerror}".lstrip(": "))
        finally:
            self._context.board.end(self._copy)

    def _to_read(self, tree: SafeTree) -> Iterator[CopyFile]:
        """The files of this turn; those that are missing or too many are noted on the way."""
        there = files_below(tree, self._unreadable)
        for file, path in merged(self._holdings.everything(), there):
            if file is None:
                assert path is not None
                self._note(_DOT_FILE if self._may_be_of_original(path) else "extra", path)
            elif path is None and (reason := self._closed_above(file.path)) is not None:
                self._note(f"not readable ({reason})", file.path)
            elif path is None and file.is_edited(tree.find(file.path)):  # a link, for example
                self._note(Damage.EDITED.value, file.path)
                self._mark(file, Damage.EDITED)
            elif path is None:
                self._note(Damage.MISSING.value, file.path)
                self._mark(file, Damage.MISSING)
                self._look_for_link(tree, file.path)
            elif self._share.takes(path):
                yield file

    def _look_at_links(self, tree: SafeTree) -> None:
        """Note the links and special files that are not as they came home."""
        changed = []
        for one in self._others:
            heartbeat.beat()
            if self._context.stop.requested:
                raise Stopped("stopped while the links were looked at")
            try:
                problem = link_problem(one, tree)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                self._note(f"not readable ({error.strerror})", one.path)
                continue
            if problem is not None:
                self._lost_links += 1
                self._note(problem, one.path)
            if one.lost != (problem is not None):
                changed.append(replace(one, lost=problem is not None))
        if self._context.catalogue.unchanged_since(self._record):
            self._others.keep(changed)
            self._others.sum_up()

    def _may_be_of_original(self, path: bytes) -> bool:
        """Whether a file that is not known is a dot file, which an original program brought."""
        brought = self._context.transfer_options.dot_files
        return not all(is_wanted(name, dot_files=brought) for name in path.split(b"/"))

    def _look_for_link(self, tree: SafeTree, path: bytes) -> None:
        """Name the symbolic link, if there is one, for which a file is missing."""
        link = tree.link_on(path)
        if link not in (None, self._link):
            self._link = link
            self._note(_LINK, link)

    def _unreadable(self, folder: bytes, error: OSError) -> None:
        """Note a folder that is closed: a person's own is none of our business."""
        self._closed[folder] = str(error.strerror)
        log.debug("%s: %s: %s", self._copy.epn, escaped(folder), error.strerror)

    def _closed_above(self, path: bytes) -> str | None:
        """Why a folder that a file is in could not be read; None: all could be."""
        above = path
        while above := above.rpartition(b"/")[0]:
            if above in self._closed:
                return self._closed[above]
        return self._closed.get(b".")

    def _take(self, found: HashResult) -> None:
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
        if len(self._digests) >= _STORE_BATCH:
            self._store()

    def _mark(self, file: CopyFile, damage: Damage | None) -> None:
        if file.damage is Damage.DIFFERENT or file.damage is damage:
            return  # only the facility can say that it does not differ any more
        self._marks.append((file, damage))
        if len(self._marks) >= _STORE_BATCH:
            self._store()

    def _note(self, what: str, path: bytes) -> None:
        self._counts[what] += 1
        if len(self._wrong[what]) < _MAX_NAMED:
            self._wrong[what].append(escaped(path))
            log.debug("%s: %s: %s", self._copy.epn, escaped(path), what)

    def _store(self) -> None:
        self._holdings.digest(self._digests)
        if self._marks and self._context.catalogue.unchanged_since(self._record):
            self._holdings.mark(self._marks)
            self._marked = True
        self._digests, self._marks = [], []

    def _end(self, reason: str | None) -> AuditResult:
        self._store()
        now = self._context.clock.now()
        if self._marked:
            self._holdings.sum_up(now)
        if not self._context.catalogue.unchanged_since(self._record):
            return _not_audited(self._record, "it was worked on meanwhile")
        unreadable = sum(
            number for what, number in self._counts.items() if what.startswith("not readable")
        )
        whole = reason is None
        if unreadable and whole:
            reason = f"{count(unreadable, 'file')} could not be read"
        elif self._link is not None and whole:
            reason = f"{escaped(self._link)} is {_LINK}"
        elif whole and (unknown := self._others.unrecorded()):
            reason = _links_not_known(unknown, self._copy.epn)
        check = Check(
            kind="audit",
            way="at home" if self._share.of == 1 else f"at home, a {_ordinal(self._share.of)}",
            started=self._started,
            ended=now,
            host=process_identity.host(),
            pid=process_identity.own_process()[0],
            files=self._files,
            bytes=self._bytes,
            different=self._counts[Damage.CHANGED.value],
            edited=self._counts[Damage.EDITED.value],
            missing=self._counts[Damage.MISSING.value] + self._lost_links,
            extra=self._counts["extra"],
            digested=self._digested,
            reason=reason,
            whole=whole,
        )
        self._context.catalogue.note(self._record.id, check)
        result = AuditResult(self._record, check, reason, named=dict(self._wrong))
        _tell(result)
        return result


def _links_not_known(number: int, epn: Epn) -> str:
    links = count(number, "link or special file", "links or special files")
    return f"{links} not looked at: `asynchy verify {epn} --level size` records what they are"


def _absent(context: RunContext, record: CopyRecord, *, superseded: bool) -> AuditResult:
    """Store that a copy was not at its place."""
    reason = f"{record.copy.destination} {record.presence.value}"
    now = context.clock.now()
    pid, _ = process_identity.own_process()
    context.catalogue.note(
        record.id,
        Check(
            "audit", "at home", now, now, process_identity.host(), pid,
            files=0, bytes=0, different=0, missing=0, extra=0, digested=0, edited=0,
            reason=reason, whole=False,
        ),
    )  # fmt: skip
    if superseded:
        reason += f"; another copy is complete: `asynchy copies forget {record.copy.epn}`"
    return replace(_not_audited(record, reason), superseded=superseded)


def _not_audited(record: CopyRecord, why: str | None) -> AuditResult:
    log.warning("%s: not audited: %s", record.copy.epn, why)
    return AuditResult(record, None, why)


def _ordinal(number: int) -> str:
    return {2: "half", 3: "third", 4: "quarter"}.get(number, f"{number}th")


def _tell(result: AuditResult) -> None:
    check, epn = result.check, result.record.copy.epn
    assert check is not None
    level = logging.INFO if result.good else logging.ERROR
    if result.good:
        log.info("%s: audited: %s as they were", epn, count(check.files, "file"))
    else:
        log.error(
            "%s: audited: %s damaged, %d changed at home, %d missing, %d too many, of %s%s",
            epn, count(check.different, "file"), check.edited, check.missing, check.extra,
            count(check.files, "file"), f"; {check.reason}" if check.reason else "",
        )  # fmt: skip
    for what, names in result.named.items():
        for name in names:
            log.log(level, "%s: %s: %s", epn, what, name)
