"""`asynchy audit`: reads copies again at home, without the facility.

The recorded files and those in the folder are merged in order of path, so that an experiment of
10^7 files needs no more memory than one of ten.
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
    """The options of an audit."""

    epns: frozenset[str] = frozenset()
    """Only the copies of these; empty: all."""
    percent: float = 100.0
    """The share of the files to read."""
    rate: int | None = None
    """Bytes a second at most; None: no limit."""


@dataclass(frozen=True)
class AuditResult:
    """The result of the audit of one copy."""

    record: CopyRecord
    check: Check | None
    """None if it was not audited."""
    problem: str | None = None
    """Why it was not, or not all of it."""
    superseded: bool = False
    """Whether it is not at its place, and another complete copy of the experiment is."""
    named: dict[str, list[str]] = field(default_factory=dict)
    """Finding -> the first files that have it."""

    @property
    def is_good(self) -> bool:
        """Whether there are no findings."""
        check = self.check
        has_findings = check is not None and (
            check.different or check.edited or check.missing or check.extra
        )
        return self.superseded or (not has_findings and self.problem is None)


def exit_code_of(results: Collection[AuditResult]) -> ExitCode:
    """INCOMPLETE if there are findings, or something could not be read."""
    return ExitCode.OK if all(result.is_good for result in results) else ExitCode.INCOMPLETE


def audit(
    context: RunContext, records: Sequence[CopyRecord], request: AuditRequest
) -> Iterator[AuditResult]:
    """Audit copies one after the other; each result is stored and logged at once.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile; the findings until then are stored.
    """
    throttle = Throttle(request.rate)
    complete_experiments = {
        item.copy.experiment
        for item in records
        if item.completed is not None and item.presence is Presence.THERE
    }
    for item in in_order(records):
        copy_files = context.catalogue.copy_files(item.id)
        if not item.was_complete:
            if request.epns:
                yield _not_audited(item, "it was never complete")
        elif copy_files.empty:
            yield _not_audited(item, "it is not known what it holds")
        elif item.claim is not None:
            yield _not_audited(item, lease_conflict(item.copy, item.claim).reason)
        elif item.presence is not Presence.THERE:
            yield _absent(context, item, superseded=item.copy.experiment in complete_experiments)
        else:
            yield _audited(context, item, copy_files, request, throttle)


def _audited(
    context: RunContext,
    item: CopyRecord,
    copy_files: CopyFiles,
    request: AuditRequest,
    throttle: Throttle,
) -> AuditResult:
    """Audit one copy; an error that nobody expected costs that copy alone."""
    try:
        return _Audit(context, item, copy_files, request, throttle).run()
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
        request: AuditRequest,
        throttle: Throttle,
    ) -> None:
        self._context = context
        self._record = record
        self._copy = record.copy
        self._copy_files = copy_files
        self._others = context.catalogue.held_others(record.id)
        self._lost_links = 0
        self._share = SamplePartition.of_percent(request.percent, record.audits)
        self._throttle = throttle
        self._started = context.clock.now()
        self._files = self._bytes = self._digested = 0
        self._findings: defaultdict[str, list[str]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._marks: list[tuple[CopyFile, Damage | None]] = []
        self._digests: list[tuple[CopyFile, bytes]] = []
        self._marked = False
        self._link: bytes | None = None
        self._closed: dict[bytes, str] = {}
        """Folders that could not be read, with the reason."""

    def run(self) -> AuditResult:
        files, total = self._copy_files.everything().amount()
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
                    self._note_result(found)
                    progress.add(0, 1)
                self._check_links(tree)
            return self._end(None)
        except Stopped:
            self._end("stopped")
            raise
        except OSError as error:
            return self._end(f"{escaped(error.filename or '')}: {error.strerror}".lstrip(": "))
        finally:
            self._context.board.end(self._copy)

    def _to_read(self, tree: SafeTree) -> Iterator[CopyFile]:
        """The files to read in this audit; missing and unexpected ones are noted on the way."""
        paths = files_below(tree, self._unreadable)
        for file, path in merged(self._copy_files.everything(), paths):
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
                self._note_link_on(tree, file.path)
            elif self._share.takes(path):
                yield file

    def _check_links(self, tree: SafeTree) -> None:
        """Note the links and special files that differ from the recorded ones."""
        changed = []
        for link in self._others:
            heartbeat.beat()
            if self._context.stop.requested:
                raise Stopped("stopped while the links were checked")
            try:
                problem = link_problem(link, tree)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                self._note(f"not readable ({error.strerror})", link.path)
                continue
            if problem is not None:
                self._lost_links += 1
                self._note(problem, link.path)
            if link.lost != (problem is not None):
                changed.append(replace(link, lost=problem is not None))
        if self._context.catalogue.unchanged_since(self._record):
            self._others.keep(changed)
            self._others.sum_up()

    def _may_be_of_original(self, path: bytes) -> bool:
        """Whether a file that is not known is a dot file, which an original program brought."""
        brought = self._context.transfer_options.dot_files
        return not all(is_wanted(name, dot_files=brought) for name in path.split(b"/"))

    def _note_link_on(self, tree: SafeTree, path: bytes) -> None:
        """Name the symbolic link, if there is one, for which a file is missing."""
        link = tree.link_on(path)
        if link not in (None, self._link):
            self._link = link
            self._note(_LINK, link)

    def _unreadable(self, folder: bytes, error: OSError) -> None:
        """Note a folder that cannot be read: it may be a person's own."""
        self._closed[folder] = str(error.strerror)
        log.debug("%s: %s: %s", self._copy.epn, escaped(folder), error.strerror)

    def _closed_above(self, path: bytes) -> str | None:
        """Why a folder that a file is in could not be read; None: all could be."""
        parent = path
        while parent := parent.rpartition(b"/")[0]:
            if parent in self._closed:
                return self._closed[parent]
        return self._closed.get(b".")

    def _note_result(self, result: HashResult) -> None:
        file = result.file
        if result.problem is not None:
            self._note(f"not readable ({result.problem})", file.path)
            return
        self._files += 1
        self._bytes += file.size if result.sha256 is not None else 0
        verdict = finding(file, result.sha256, result.modified)
        damage = result.damage or verdict.damage
        if verdict.new_digest is not None:
            self._digested += 1
            self._digests.append((file, verdict.new_digest))
        if damage is not None:
            self._note(damage.value, file.path)
        if damage is not None or file.damage is not None:
            self._mark(file, damage)
        if len(self._digests) >= _STORE_BATCH:
            self._store()

    def _mark(self, file: CopyFile, damage: Damage | None) -> None:
        if file.damage is Damage.DIFFERENT or file.damage is damage:
            return  # only a comparison with the facility can clear that
        self._marks.append((file, damage))
        if len(self._marks) >= _STORE_BATCH:
            self._store()

    def _note(self, finding_text: str, path: bytes) -> None:
        self._counts[finding_text] += 1
        if len(self._findings[finding_text]) < _MAX_NAMED:
            self._findings[finding_text].append(escaped(path))
            log.debug("%s: %s: %s", self._copy.epn, escaped(path), finding_text)

    def _store(self) -> None:
        self._copy_files.digest(self._digests)
        if self._marks and self._context.catalogue.unchanged_since(self._record):
            self._copy_files.mark(self._marks)
            self._marked = True
        self._digests, self._marks = [], []

    def _end(self, reason: str | None) -> AuditResult:
        self._store()
        now = self._context.clock.now()
        if self._marked:
            self._copy_files.sum_up(now)
        if not self._context.catalogue.unchanged_since(self._record):
            return _not_audited(self._record, "it was worked on meanwhile")
        unreadable = sum(
            number
            for finding_text, number in self._counts.items()
            if finding_text.startswith("not readable")
        )
        completed = reason is None
        if unreadable and completed:
            reason = f"{count(unreadable, 'file')} could not be read"
        elif self._link is not None and completed:
            reason = f"{escaped(self._link)} is {_LINK}"
        elif completed and (unknown := self._others.unrecorded()):
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
            whole=completed,
        )
        self._context.catalogue.note(self._record.id, check)
        result = AuditResult(self._record, check, reason, named=dict(self._findings))
        _log_result(result)
        return result


def _links_not_known(number: int, epn: Epn) -> str:
    links = count(number, "link or special file", "links or special files")
    return f"{links} not checked: `asynchy verify {epn} --level size` records what they are"


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


def _not_audited(record: CopyRecord, reason: str | None) -> AuditResult:
    log.warning("%s: not audited: %s", record.copy.epn, reason)
    return AuditResult(record, None, reason)


def _ordinal(number: int) -> str:
    return {2: "half", 3: "third", 4: "quarter"}.get(number, f"{number}th")


def _log_result(result: AuditResult) -> None:
    check, epn = result.check, result.record.copy.epn
    assert check is not None
    level = logging.INFO if result.is_good else logging.ERROR
    if result.is_good:
        log.info("%s: audited: %s as they were", epn, count(check.files, "file"))
    else:
        log.error(
            "%s: audited: %s damaged, %d changed at home, %d missing, %d unexpected, of %s%s",
            epn, count(check.different, "file"), check.edited, check.missing, check.extra,
            count(check.files, "file"), f"; {check.reason}" if check.reason else "",
        )  # fmt: skip
    for kind, names in result.named.items():
        for name in names:
            log.log(level, "%s: %s: %s", epn, kind, name)
