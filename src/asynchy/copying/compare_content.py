"""A copy compared with the facility byte for byte, in batches, several at a time.

What a batch proved is stored at once: stopped or cut off, the next run goes on with what is left.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from asynchy.catalogue.copy_files import CopyFiles, Selection
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

    The facility is listed first: what has changed there meanwhile does not differ, it is due.

    Raises:
        ListingError: it could not be listed.
        Stopped: a stop was requested meanwhile.
        CatalogueError: the catalogue cannot be used.
        OSError: a file cannot be moved.
    """
    listing_diff = context.listing_diff(copy)
    report_replaced(context, copy, copy_files.copy_id)  # what a run replaced that was killed
    moved: list[int] = []
    with Quarantine(copy, context.time_to_keep_from()) as aside:
        for file in copy_files.different(listed=True):
            if aside.is_edited(file):
                continue  # since it was compared; the next listing says so
            try:
                became = aside.remove_from_copy(file)
            except OSError as error:
                if not is_about_one_file(error):
                    raise
                log.warning(
                    "%s: %s differs from the facility's and cannot be moved aside: %s",
                    copy.epn, escaped(file.path), error.strerror,
                )  # fmt: skip
                continue
            if became is None:
                continue
            moved.append(file.size)
            if len(moved) <= _MAX_NAMED:
                log.warning(
                    "%s: %s differs from the facility's; %s; fetching it again",
                    copy.epn, escaped(file.path), became,
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
    """What becomes of the verdict on a copy that is all at home, once its bytes were compared.

    They are where `verify: source` asks for it; otherwise those of files alone that were found to
    differ before. `again`: files that differed were fetched again since.

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
        proof = compare_content(context, copy, copy_files, selection)
    except Stopped:
        return Judgement(Verdict.STOPPED, "stopped while its bytes were compared")
    except ListingError as error:
        return _unproven(f"its bytes could not be compared: {error}", error.hint)
    except OSError as error:
        return _unproven(f"{place_of(error, copy)}: {error.strerror}", None)
    return verdict_on(proof, judgement, again=again)


def _unproven(reason: str, hint: str | None) -> Judgement:
    return Judgement(Verdict.FAILED, f"{reason} ({hint})" if hint else reason)


class _Comparison:
    """One comparison of a copy, stored as a check at its end."""

    def __init__(
        self, context: RunContext, copy: Copy, copy_files: CopyFiles, progress: ReadProgress
    ) -> None:
        self._context = context
        self._copy = copy
        self._holdings = copy_files
        self._progress = progress
        self._started = context.clock.now()
        self._lock = threading.Lock()
        self._giving_up = self._answered = False
        self._way = ""
        self._files = self._bytes = self._different = self._digested = self._uncompared = 0
        self._edited = 0

    def work(self, selection: Selection) -> None:
        """Compare all of them, several batches at a time."""
        way, done = self._context.session.facts.comparison_method, None
        if way is None:
            way, done = self._find_way(selection)
            self._context.session.note_comparison_method(way)
        self._way = way.value
        log.info("%s: compared by %s", self._copy.epn, self._way)
        in_turn = batches(
            (file for file in selection if file.path != done), _MAX_BATCH_FILES, _MAX_BATCH_BYTES
        )
        at_a_time = min(
            self._context.transfer_options.streams or _DEFAULT_BATCHES,
            self._context.remote.connections,
        )
        with ThreadPoolExecutor(at_a_time) as pool:
            for future in [pool.submit(self._take_batches, way, in_turn) for _ in range(at_a_time)]:
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
            way=self._way,
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
        self._context.catalogue.note(self._holdings.copy_id, check)
        return check

    def _find_way(self, selection: Selection) -> tuple[ComparisonMethod, bytes]:
        """The cheapest way that the server offers, and the file that was compared to find it out.

        What came of it is kept: one image may be all that there is, and take hours. Where no way
        says anything of a file it may have vanished, and another is tried.
        """
        in_order = sorted(itertools.islice(selection, _MAX_BATCH_FILES), key=lambda file: file.size)
        for file, way in itertools.product(in_order[:_TRIAL_FILES], ComparisonMethod):
            compared = self._tried(way, file)
            if compared is not None:
                self._keep([file], *compared)
                return way, file.path
        tried = ", ".join(escaped(file.path) for file in in_order[:_TRIAL_FILES])
        raise DigestsNotOffered(
            f"no file could be read again at the facility (tried {tried})",
            hint="see with `sftp USER@HOST` whether it is still there and may be read",
        )

    def _tried(self, way: ComparisonMethod, file: CopyFile) -> Compared | None:
        """What came of a file that was compared in a way; None if the server does not answer."""
        self._answered = False
        if way is not ComparisonMethod.RSYNC:
            compared = self._with_patience(way, [file])
        else:
            try:
                compared = self._by_rsync([file])
            except ListingError as error:
                log.info("rsync --checksum is not offered: %s", error)
                return None
        return compared if self._answered else None

    def _take_batches(self, way: ComparisonMethod, in_turn: Iterator[list[CopyFile]]) -> None:
        try:
            while not self._giving_up:
                with self._lock:
                    batch = next(in_turn, None)
                if batch is None:
                    return
                self._keep(batch, *self._with_patience(way, batch))
        except BaseException:
            self._giving_up = True
            raise

    def _with_patience(self, way: ComparisonMethod, batch: list[CopyFile]) -> Compared:
        """Compare a batch; again, where the connection was lost and `--retry` says so."""
        for tries in itertools.count():
            try:
                return (
                    self._by_rsync(batch)
                    if way is ComparisonMethod.RSYNC
                    else self._by_digests(way, batch)
                )
            except ListingError as error:
                what = f"{self._copy.epn}: {error}"
                if not (error.transient and self._context.try_again(tries, what)):
                    raise
        raise AssertionError  # it counts for ever

    def _keep(
        self,
        batch: list[CopyFile],
        same: list[tuple[CopyFile, bytes | None]],
        different: list[CopyFile],
    ) -> None:
        edited = self._edited_of(different)
        different = [file for file in different if file not in edited]
        self._holdings.prove(same, self._context.transfer_options.run)
        self._holdings.differ(different)
        if edited:
            self._holdings.mark((file, Damage.EDITED) for file in edited)
            self._holdings.sum_up(self._context.clock.now())
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
        """Those of some files that people changed at home, after they were listed."""
        if not different:
            return []
        with SafeTree.of(self._copy) as tree:
            return [file for file in different if file.is_edited(tree.find(file.path))]

    def _by_rsync(self, batch: list[CopyFile]) -> Compared:
        """Have rsync make checksums on both sides.

        What it says differs may have been written at that moment, or differ in something else than
        its bytes: it is read over SFTP before that is believed. Where there is no SFTP, rsync is
        asked again.
        """
        same, doubtful = self._asked_of_rsync(batch)
        if not doubtful:
            return same, []
        log.info(
            "%s: rsync says that %s not the same; looking again",
            self._copy.epn, count(len(doubtful), "file is", "files are"),
        )  # fmt: skip
        try:
            again, different = self._by_digests(ComparisonMethod.READ, doubtful)
        except SftpNotOffered:
            again, different = self._asked_of_rsync(doubtful)
        return same + again, different

    def _asked_of_rsync(self, batch: list[CopyFile]) -> Compared:
        context, copy = self._context, self._copy
        sizes = {file.path: file.size for file in batch}
        said: dict[bytes, bool] = {}

        def hear(path: bytes, same: bool) -> None:
            if path in sizes:
                said[path] = same
                self._progress.add(sizes[path] if same else 0)

        runner.compare_files(
            context.remote, copy.source, copy.destination, sizes, hear, context.stop,
            idle_timeout_for(context.remote, batch),
        )  # fmt: skip
        self._answered |= bool(said)
        same: list[tuple[CopyFile, bytes | None]] = []
        same += [(file, None) for file in batch if said.get(file.path) is True]
        return same, [file for file in batch if said.get(file.path) is False]

    def _by_digests(self, way: ComparisonMethod, batch: list[CopyFile]) -> Compared:
        """The facility's digests, and meanwhile ours."""
        context, copy = self._context, self._copy
        there: dict[bytes, bytes] = {}
        useless = threading.Event()

        def read(number: int) -> None:
            if useless.is_set():
                raise Stopped("there is nothing to compare it with")
            self._progress.add(number)

        reader = Reader(copy, context.stop, 1, Throttle(None), cold=True, on_bytes=read)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(lambda: list(reader.read(batch)))
            try:
                if way is ComparisonMethod.READ:
                    read_again(context.remote, copy.source, batch, there.__setitem__, context.stop)
                else:
                    remote_sha256sum.digests(
                        context.remote, copy.source, [file.path for file in batch],
                        there.__setitem__, context.stop, idle_timeout_for(context.remote, batch),
                    )  # fmt: skip
            except BaseException:
                useless.set()
                raise
            if not there:
                useless.set()
                return [], []
            found = [one for one in ours.result() if one.file.path in there]
        self._answered |= there.keys() <= {file.path for file in batch}
        same: list[tuple[CopyFile, bytes | None]] = []
        different: list[CopyFile] = []
        for one in found:
            if one.sha256 == there[one.file.path]:
                same.append((one.file, one.sha256))
            elif one.problem is None:
                different.append(one.file)
            else:
                log.warning("%s: %s: %s", copy.epn, escaped(one.file.path), one.problem)
        return same, different
