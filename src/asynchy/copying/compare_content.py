"""Compares a copy with the facility byte for byte, in batches, several at a time.

The result of a batch is stored at once: if interrupted, the next run continues with the rest.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.catalogue.file_selection import Selection
from asynchy.copying.outcome_rules import ComparisonResult, Judgement, verdict_on
from asynchy.copying.replaced_files import report_replaced
from asynchy.errors import AsynchyError, DigestsNotOffered, ListingError, SftpNotOffered, Stopped
from asynchy.facility.sftp_hasher import idle_timeout_for, read_again
from asynchy.localfs import process_identity
from asynchy.localfs.file_hasher import Reader, Throttle
from asynchy.localfs.quarantine import Quarantine
from asynchy.localfs.safe_tree import SafeTree, is_about_one_file, place_of
from asynchy.model.attempt import Verdict
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.formatting import count, escaped, size
from asynchy.model.verification import Check, ComparisonMethod, CopyFile, Damage, batches
from asynchy.runtime.context import RunContext
from asynchy.runtime.read_progress import ReadProgress
from asynchy.ssh import remote_sha256sum
from asynchy.ssh.rsync import runner

log = logging.getLogger(__name__)

_DEFAULT_BATCHES = 4
"""Batches, unless the config names a number of streams."""
_MAX_BATCH_FILES = 5000
"""In a batch at most."""
_MAX_BATCH_BYTES = 4 << 30
"""In a batch, unless one file has more."""
_TRIAL_FILES = 3
"""Files with which the ways are tried, one after the other: one may have vanished."""
_MAX_NAMED = 10
"""Files that are named in the log."""

Compared = tuple[list[tuple[CopyFile, bytes | None]], list[CopyFile]]
"""Files that are the same, with their SHA-256 where it was computed; and those that differ."""


def compare_content(
    context: RunContext, copy: Copy, copy_files: CopyFiles, selection: Selection
) -> ComparisonResult:
    """Compare files of a copy with the facility's, and store what was found, as a check, too.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ListingError: the connection was lost, or the facility offers no way.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
        OSError: the copy's folder cannot be read.
    """
    files, total = selection.amount()
    log.info(
        "%s: comparing %s, %s with the facility's", copy.epn, count(files, "file"), size(total)
    )
    run = _Comparison(
        context, copy, copy_files, ReadProgress(context.board, copy, (files, total), "verifying")
    )
    try:
        run.work(selection)
    except (AsynchyError, OSError) as error:
        run.store(str(error), whole=False)
        raise
    return run.ended()


def quarantine_mismatches(context: RunContext, copy: Copy, copy_files: CopyFiles) -> ListingDiff:
    """Take the files that differ from the facility's out of a copy, so that they are fetched again.

    The facility is listed first: a file that has changed there meanwhile is due, not different.

    Raises:
        ListingError: it could not be listed.
        Stopped: a stop was requested meanwhile.
        CatalogueError: the catalogue cannot be used.
        OSError: a file cannot be moved.
    """
    listing_diff = context.listing_diff(copy)
    report_replaced(
        context, copy, copy_files.copy_id
    )  # also files replaced by a run that was killed
    moved: list[int] = []
    with Quarantine(copy, context.time_to_keep_from()) as quarantine:
        for file in copy_files.different(listed=True):
            if quarantine.is_edited(file):
                continue  # edited since the comparison; the next listing finds that
            try:
                outcome = quarantine.remove_from_copy(file)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                log.warning(
                    "%s: %s differs from the facility's and cannot be moved aside: %s",
                    copy.epn, escaped(file.path), error.strerror,
                )  # fmt: skip
                continue
            if outcome is None:
                continue
            moved.append(file.size)
            if len(moved) <= _MAX_NAMED:
                log.warning(
                    "%s: %s differs from the facility's; %s; fetching it again",
                    copy.epn, escaped(file.path), outcome,
                )  # fmt: skip
    if len(moved) > _MAX_NAMED:
        log.warning("%s: and %d more", copy.epn, len(moved) - _MAX_NAMED)
    return replace(
        listing_diff,
        missing_files=listing_diff.missing_files + len(moved),
        missing_bytes=listing_diff.missing_bytes + sum(moved),
    )


def verify_content(
    context: RunContext, copy: Copy, copy_files: CopyFiles, judgement: Judgement, *, again: bool
) -> Judgement:
    """The verdict on a copy that is all at home, after its bytes were compared.

    `verify: source` compares all files; otherwise only those are compared that differed before.
    `again`: files that differed have been fetched again since.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    everything = context.transfer_options.verify == "source"
    selection = (
        copy_files.unproven(context.transfer_options.run)
        if everything
        else copy_files.different(listed=True)
    )
    if not selection.amount()[0]:
        return judgement
    try:
        comparison = compare_content(context, copy, copy_files, selection)
    except Stopped:
        return Judgement(Verdict.STOPPED, "stopped while its bytes were compared")
    except ListingError as error:
        return _unproven(f"its bytes could not be compared: {error}", error.hint)
    except OSError as error:
        return _unproven(f"{place_of(error, copy)}: {error.strerror}", None)
    return verdict_on(comparison, judgement, again=again)


def _unproven(reason: str, hint: str | None) -> Judgement:
    return Judgement(Verdict.FAILED, f"{reason} ({hint})" if hint else reason)


class _Comparison:
    """One comparison of a copy, stored as a check at its end."""

    def __init__(
        self, context: RunContext, copy: Copy, copy_files: CopyFiles, progress: ReadProgress
    ) -> None:
        self._context = context
        self._copy = copy
        self._copy_files = copy_files
        self._progress = progress
        self._started = context.clock.now()
        self._lock = threading.Lock()
        self._giving_up = self._answered = False
        self._method = ""
        self._files = self._bytes = self._different = self._digested = self._uncompared = 0
        self._edited = 0

    def work(self, selection: Selection) -> None:
        """Compare all of them, several batches at a time."""
        method, tried_path = self._context.session.facts.comparison_method, None
        if method is None:
            method, tried_path = self._find_method(selection)
            self._context.session.note_comparison_method(method)
        self._method = method.value
        log.info("%s: compared by %s", self._copy.epn, self._method)
        in_turn = batches(
            (file for file in selection if file.path != tried_path),
            _MAX_BATCH_FILES,
            _MAX_BATCH_BYTES,
        )
        at_a_time = min(
            self._context.transfer_options.streams or _DEFAULT_BATCHES,
            self._context.remote.connections,
        )
        with ThreadPoolExecutor(at_a_time) as pool:
            for future in [
                pool.submit(self._take_batches, method, in_turn) for _ in range(at_a_time)
            ]:
                future.result()

    def ended(self) -> ComparisonResult:
        """All that was to be compared has been."""
        reason = None
        if self._uncompared:
            reason = f"{count(self._uncompared, 'file')} could not be read on one of both sides"
        return ComparisonResult(self.store(reason, whole=True), self._uncompared)

    def store(self, reason: str | None, *, whole: bool) -> Check:
        """Store what was done as a check."""
        check = Check(
            kind="verify",
            way=self._method,
            started=self._started,
            ended=self._context.clock.now(),
            host=process_identity.host(),
            pid=process_identity.own_process()[0],
            files=self._files,
            bytes=self._bytes,
            different=self._different,
            missing=0,
            extra=0,
            digested=self._digested,
            edited=self._edited,
            reason=reason,
            whole=whole,
        )
        self._context.catalogue.note(self._copy_files.copy_id, check)
        return check

    def _find_method(self, selection: Selection) -> tuple[ComparisonMethod, bytes]:
        """The cheapest method that the server offers, and the file that was compared to find it.

        The result for that file is kept: it may be the only one, and take hours. If no method has a
        result for a file, it may have vanished, and another one is tried.
        """
        in_order = sorted(itertools.islice(selection, _MAX_BATCH_FILES), key=lambda file: file.size)
        for file, method in itertools.product(in_order[:_TRIAL_FILES], ComparisonMethod):
            compared = self._tried(method, file)
            if compared is not None:
                self._store_results([file], *compared)
                return method, file.path
        tried = ", ".join(escaped(file.path) for file in in_order[:_TRIAL_FILES])
        raise DigestsNotOffered(
            f"no file could be read again at the facility (tried {tried})",
            hint="see with `sftp USER@HOST` whether it is still there and may be read",
        )

    def _tried(self, method: ComparisonMethod, file: CopyFile) -> Compared | None:
        """The result of comparing a file by a method; None if the server does not answer."""
        self._answered = False
        if method is not ComparisonMethod.RSYNC:
            compared = self._with_retries(method, [file])
        else:
            try:
                compared = self._by_rsync([file])
            except ListingError as error:
                log.info("rsync --checksum is not offered: %s", error)
                return None
        return compared if self._answered else None

    def _take_batches(self, method: ComparisonMethod, in_turn: Iterator[list[CopyFile]]) -> None:
        try:
            while not self._giving_up:
                with self._lock:
                    batch = next(in_turn, None)
                if batch is None:
                    return
                self._store_results(batch, *self._with_retries(method, batch))
        except BaseException:
            self._giving_up = True
            raise

    def _with_retries(self, method: ComparisonMethod, batch: list[CopyFile]) -> Compared:
        """Compare a batch; again, if the connection was lost and `--retry` allows it."""
        for tries in itertools.count():
            try:
                return (
                    self._by_rsync(batch)
                    if method is ComparisonMethod.RSYNC
                    else self._by_digests(method, batch)
                )
            except ListingError as error:
                failed = f"{self._copy.epn}: {error}"
                if not (error.transient and self._context.try_again(tries, failed)):
                    raise
        raise AssertionError  # it counts for ever

    def _store_results(
        self,
        batch: list[CopyFile],
        same: list[tuple[CopyFile, bytes | None]],
        different: list[CopyFile],
    ) -> None:
        edited = self._edited_of(different)
        different = [file for file in different if file not in edited]
        self._copy_files.prove(same, self._context.transfer_options.run)
        self._copy_files.differ(different)
        if edited:
            self._copy_files.mark((file, Damage.EDITED) for file in edited)
            self._copy_files.sum_up(self._context.clock.now())
        compared = [file for file, _ in same] + different
        with self._lock:
            self._files += len(compared)
            self._bytes += sum(file.size for file in compared)
            self._different += len(different)
            self._edited += len(edited)
            self._digested += sum(
                file.sha256 is None and digest is not None for file, digest in same
            )
            self._uncompared += len(batch) - len(compared) - len(edited)
        self._progress.add(0, len(batch))

    def _edited_of(self, different: list[CopyFile]) -> list[CopyFile]:
        """The files that people changed at home after they were listed."""
        if not different:
            return []
        with SafeTree.of(self._copy) as tree:
            return [file for file in different if file.is_edited(tree.find(file.path))]

    def _by_rsync(self, batch: list[CopyFile]) -> Compared:
        """Have rsync make checksums on both sides.

        A file that it reports as different may have been written at that moment, or differ in
        something else than its bytes: so it is read over SFTP, too. Without SFTP, rsync compares it
        again.
        """
        same, doubtful = self._compared_by_rsync(batch)
        if not doubtful:
            return same, []
        log.info(
            "%s: rsync reports that %s not the same; comparing again",
            self._copy.epn, count(len(doubtful), "file is", "files are"),
        )  # fmt: skip
        try:
            confirmed, different = self._by_digests(ComparisonMethod.READ, doubtful)
        except SftpNotOffered:
            confirmed, different = self._compared_by_rsync(doubtful)
        return same + confirmed, different

    def _compared_by_rsync(self, batch: list[CopyFile]) -> Compared:
        context, copy = self._context, self._copy
        sizes = {file.path: file.size for file in batch}
        results: dict[bytes, bool] = {}

        def on_result(path: bytes, same: bool) -> None:
            if path in sizes:
                results[path] = same
                self._progress.add(sizes[path] if same else 0)

        runner.compare_files(
            context.remote, copy.source, copy.destination, sizes, on_result, context.stop,
            idle_timeout_for(context.remote, batch),
        )  # fmt: skip
        self._answered |= bool(results)
        same: list[tuple[CopyFile, bytes | None]] = []
        same += [(file, None) for file in batch if results.get(file.path) is True]
        return same, [file for file in batch if results.get(file.path) is False]

    def _by_digests(self, method: ComparisonMethod, batch: list[CopyFile]) -> Compared:
        """Get the facility's digests, and compute our own meanwhile."""
        context, copy = self._context, self._copy
        remote_digests: dict[bytes, bytes] = {}
        cancelled = threading.Event()

        def read(number: int) -> None:
            if cancelled.is_set():
                raise Stopped("there is nothing to compare it with")
            self._progress.add(number)

        reader = Reader(copy, context.stop, 1, Throttle(None), cold=True, on_bytes=read)
        with ThreadPoolExecutor(1) as pool:
            local_results = pool.submit(lambda: list(reader.read(batch)))
            try:
                if method is ComparisonMethod.READ:
                    read_again(
                        context.remote, copy.source, batch, remote_digests.__setitem__, context.stop
                    )
                else:
                    remote_sha256sum.digests(
                        context.remote, copy.source, [file.path for file in batch],
                        remote_digests.__setitem__, context.stop,
                        idle_timeout_for(context.remote, batch),
                    )  # fmt: skip
            except BaseException:
                cancelled.set()
                raise
            if not remote_digests:
                cancelled.set()
                return [], []
            local = [
                result for result in local_results.result() if result.file.path in remote_digests
            ]
        self._answered |= remote_digests.keys() <= {file.path for file in batch}
        same: list[tuple[CopyFile, bytes | None]] = []
        different: list[CopyFile] = []
        for result in local:
            if result.sha256 == remote_digests[result.file.path]:
                same.append((result.file, result.sha256))
            elif result.problem is None:
                different.append(result.file)
            else:
                log.warning("%s: %s: %s", copy.epn, escaped(result.file.path), result.problem)
        return same, different
