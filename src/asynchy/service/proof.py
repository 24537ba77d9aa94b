"""A copy held against the facility byte for byte, in lots, several at a time.

What a lot proved is stored at once: stopped or cut off, the next run goes on with what is left.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from asynchy.catalogue import process
from asynchy.catalogue.held import Holdings, Selection
from asynchy.domain.attempt import Verdict
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.level import Check, Damage, Held
from asynchy.domain.text import count, shown, size
from asynchy.errors import AsynchyError, DigestsNotOffered, ListingError, SftpNotOffered, Stopped
from asynchy.facility.digests import Way, patience_for, read_again
from asynchy.plan.verdict import Judgement, Proof, verdict_on
from asynchy.service.progress import Progress
from asynchy.service.site import Site
from asynchy.ssh import rsync, sha256sum
from asynchy.tree import Tree
from asynchy.verify.aside import Aside
from asynchy.verify.reading import Reader, Throttle

log = logging.getLogger(__name__)

_AT_A_TIME = 4
"""Lots, unless the config names a number of streams."""
_FILES = 5000
"""In a lot at most."""
_BYTES = 4 << 30
"""In a lot, unless one file has more."""
_TRIED = 3
"""Files with which the ways are tried, one after the other: one may have vanished."""
_NAMED = 10
"""Files that are named in the log."""

Compared = tuple[list[tuple[Held, bytes | None]], list[Held]]
"""Files that are the same, with their SHA-256 where it was computed; and those that differ."""


def prove(site: Site, copy: Copy, holdings: Holdings, selection: Selection) -> Proof:
    """Compare files of a copy with the facility's, and store what was found, as a check, too.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ListingError: the connection was lost, or the facility offers no way.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
        OSError: the copy's folder cannot be read.
    """
    files, total = selection.amount()
    log.info(
        "%s: holding %s, %s against the facility's", copy.epn, count(files, "file"), size(total)
    )
    run = _Run(site, copy, holdings, Progress(site.board, copy, (files, total), "verifying"))
    try:
        run.work(selection)
    except (AsynchyError, OSError) as error:
        run.store(str(error), whole=False)
        raise
    return run.ended()


def put_aside(site: Site, copy: Copy, holdings: Holdings) -> Survey:
    """Take the files that differ from the facility's out of a copy, so that they are fetched again.

    The facility is listed first: what has changed there meanwhile does not differ, it is due.

    Raises:
        ListingError: it could not be listed.
        Stopped: a stop was asked for meanwhile.
        CatalogueError: the catalogue cannot be used.
        OSError: a file cannot be moved.
    """
    survey = site.survey(copy)
    moved: list[int] = []
    with Aside(copy, site.clock.now()) as aside:
        for file in holdings.different(listed=True):
            if aside.is_edited(file):
                continue  # since it was compared; the next listing says so
            became = aside.take(file)
            if became is None:
                continue
            moved.append(file.size)
            if len(moved) <= _NAMED:
                log.warning(
                    "%s: %s differs from the facility's; %s; fetching it again",
                    copy.epn, shown(file.path), became,
                )  # fmt: skip
    if len(moved) > _NAMED:
        log.warning("%s: and %d more", copy.epn, len(moved) - _NAMED)
    return replace(
        survey,
        missing_files=survey.missing_files + len(moved),
        missing_bytes=survey.missing_bytes + sum(moved),
    )


def judged(
    site: Site, copy: Copy, holdings: Holdings, judgement: Judgement, *, again: bool
) -> Judgement:
    """What becomes of the verdict on a copy that is all at home, once its bytes were compared.

    They are where `verify: source` asks for it; otherwise those of files alone that were found to
    differ before. `again`: files that differed were fetched again since.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    everything = site.means.verify == "source"
    selection = holdings.unproven(site.means.run) if everything else holdings.different(listed=True)
    if not selection.amount()[0]:
        return judgement
    try:
        proof = prove(site, copy, holdings, selection)
    except Stopped:
        return Judgement(Verdict.STOPPED, "stopped while its bytes were compared")
    except ListingError as error:
        return _unproven(f"its bytes could not be compared: {error}", error.hint)
    except OSError as error:
        return _unproven(f"{error.filename or copy.destination}: {error.strerror}", None)
    return verdict_on(proof, judgement, again=again)


def _unproven(reason: str, hint: str | None) -> Judgement:
    return Judgement(Verdict.FAILED, f"{reason} ({hint})" if hint else reason)


class _Run:
    """One comparison of a copy, stored as a check at its end."""

    def __init__(self, site: Site, copy: Copy, holdings: Holdings, progress: Progress) -> None:
        self._site = site
        self._copy = copy
        self._holdings = holdings
        self._progress = progress
        self._started = site.clock.now()
        self._lock = threading.Lock()
        self._giving_up = self._answered = False
        self._way = ""
        self._files = self._bytes = self._different = self._digested = self._uncompared = 0
        self._edited = 0

    def work(self, selection: Selection) -> None:
        """Compare all of them, several lots at a time."""
        way, done = self._site.ways.get(self._site.remote), None
        if way is None:
            way, done = self._find_way(selection)
            self._site.ways[self._site.remote] = way
        self._way = way.value
        log.info("%s: compared by %s", self._copy.epn, self._way)
        lots = _lots(file for file in selection if file.path != done)
        at_a_time = min(self._site.means.streams or _AT_A_TIME, self._site.remote.connections)
        with ThreadPoolExecutor(at_a_time) as pool:
            for future in [pool.submit(self._take_lots, way, lots) for _ in range(at_a_time)]:
                future.result()

    def ended(self) -> Proof:
        """All that was to be compared has been."""
        reason = None
        if self._uncompared:
            reason = f"{count(self._uncompared, 'file')} could not be read on one of both sides"
        return Proof(self.store(reason, whole=True), self._uncompared)

    def store(self, reason: str | None, *, whole: bool) -> Check:
        """Store what was done as a check."""
        check = Check(
            kind="verify",
            way=self._way,
            started=self._started,
            ended=self._site.clock.now(),
            host=process.host(),
            pid=process.me()[0],
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
        self._site.catalogue.note(self._holdings.copy_id, check)
        return check

    def _find_way(self, selection: Selection) -> tuple[Way, bytes]:
        """The cheapest way that the server offers, and the file that was compared to find it out.

        What came of it is kept: one image may be all that there is, and take hours. Where no way
        says anything of a file it may have vanished, and another is tried.
        """
        in_order = sorted(itertools.islice(selection, _FILES), key=lambda file: file.size)
        for file, way in itertools.product(in_order[:_TRIED], Way):
            compared = self._tried(way, file)
            if compared is not None:
                self._keep([file], *compared)
                return way, file.path
        tried = ", ".join(shown(file.path) for file in in_order[:_TRIED])
        raise DigestsNotOffered(
            f"no file could be read again at the facility (tried {tried})",
            hint="see with `sftp USER@HOST` whether it is still there and may be read",
        )

    def _tried(self, way: Way, file: Held) -> Compared | None:
        """What came of a file that was compared in a way; None where the server does not answer."""
        self._answered = False
        if way is not Way.RSYNC:
            compared = self._with_patience(way, [file])
        else:
            try:
                compared = self._by_rsync([file])
            except ListingError as error:
                log.info("rsync --checksum is not offered: %s", error)
                return None
        return compared if self._answered else None

    def _take_lots(self, way: Way, lots: Iterator[list[Held]]) -> None:
        try:
            while not self._giving_up:
                with self._lock:
                    lot = next(lots, None)
                if lot is None:
                    return
                self._keep(lot, *self._with_patience(way, lot))
        except BaseException:
            self._giving_up = True
            raise

    def _with_patience(self, way: Way, lot: list[Held]) -> Compared:
        """Compare a lot; again, where the connection was lost and `--retry` says so."""
        for tries in itertools.count():
            try:
                return self._by_rsync(lot) if way is Way.RSYNC else self._by_digests(way, lot)
            except ListingError as error:
                what = f"{self._copy.epn}: {error}"
                if not (error.transient and self._site.try_again(tries, what)):
                    raise
        raise AssertionError  # it counts for ever

    def _keep(
        self, lot: list[Held], same: list[tuple[Held, bytes | None]], different: list[Held]
    ) -> None:
        edited = self._edited_of(different)
        different = [file for file in different if file not in edited]
        self._holdings.prove(same, self._site.means.run)
        self._holdings.differ(different)
        if edited:
            self._holdings.mark((file, Damage.EDITED) for file in edited)
            self._holdings.sum_up(self._site.clock.now())
        compared = [file for file, _ in same] + different
        with self._lock:
            self._files += len(compared)
            self._bytes += sum(file.size for file in compared)
            self._different += len(different)
            self._edited += len(edited)
            self._digested += sum(
                file.sha256 is None and digest is not None for file, digest in same
            )
            self._uncompared += len(lot) - len(compared) - len(edited)
        self._progress.add(0, len(lot))

    def _edited_of(self, different: list[Held]) -> list[Held]:
        """Those of some files that people changed at home, after they were listed."""
        if not different:
            return []
        with Tree.of(self._copy) as tree:
            return [file for file in different if file.is_edited(tree.find(file.path))]

    def _by_rsync(self, lot: list[Held]) -> Compared:
        """Have rsync make checksums on both sides.

        What it says differs may have been written at that moment, or differ in something else than
        its bytes: it is read over SFTP before that is believed. Where there is no SFTP, rsync is
        asked again.
        """
        same, doubtful = self._asked_of_rsync(lot)
        if not doubtful:
            return same, []
        log.info(
            "%s: rsync says that %s not the same; looking again",
            self._copy.epn, count(len(doubtful), "file is", "files are"),
        )  # fmt: skip
        try:
            again, different = self._by_digests(Way.READ, doubtful)
        except SftpNotOffered:
            again, different = self._asked_of_rsync(doubtful)
        return same + again, different

    def _asked_of_rsync(self, lot: list[Held]) -> Compared:
        site, copy = self._site, self._copy
        sizes = {file.path: file.size for file in lot}
        said: dict[bytes, bool] = {}

        def hear(path: bytes, same: bool) -> None:
            if path in sizes:
                said[path] = same
                self._progress.add(sizes[path] if same else 0)

        rsync.compare_files(
            site.remote, copy.source, copy.destination, sizes, hear, site.stop,
            patience_for(site.remote, lot),
        )  # fmt: skip
        self._answered |= bool(said)
        same: list[tuple[Held, bytes | None]] = []
        same += [(file, None) for file in lot if said.get(file.path) is True]
        return same, [file for file in lot if said.get(file.path) is False]

    def _by_digests(self, way: Way, lot: list[Held]) -> Compared:
        """The facility's digests, and meanwhile ours."""
        site, copy = self._site, self._copy
        there: dict[bytes, bytes] = {}
        useless = threading.Event()

        def read(number: int) -> None:
            if useless.is_set():
                raise Stopped("there is nothing to compare it with")
            self._progress.add(number)

        reader = Reader(copy, site.stop, 1, Throttle(None), cold=True, on_bytes=read)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(lambda: list(reader.read(lot)))
            try:
                if way is Way.READ:
                    read_again(site.remote, copy.source, lot, there.__setitem__, site.stop)
                else:
                    sha256sum.digests(
                        site.remote, copy.source, [file.path for file in lot], there.__setitem__,
                        site.stop, patience_for(site.remote, lot),
                    )  # fmt: skip
            except BaseException:
                useless.set()
                raise
            if not there:
                useless.set()
                return [], []
            found = [one for one in ours.result() if one.file.path in there]
        self._answered |= there.keys() <= {file.path for file in lot}
        same: list[tuple[Held, bytes | None]] = []
        different: list[Held] = []
        for one in found:
            if one.sha256 == there[one.file.path]:
                same.append((one.file, one.sha256))
            elif one.problem is None:
                different.append(one.file)
            else:
                log.warning("%s: %s: %s", copy.epn, shown(one.file.path), one.problem)
        return same, different


def _lots(files: Iterable[Held]) -> Iterator[list[Held]]:
    lot: list[Held] = []
    total = 0
    for file in files:
        if lot and (len(lot) >= _FILES or total + file.size > _BYTES):
            yield lot
            lot, total = [], 0
        lot.append(file)
        total += file.size
    if lot:
        yield lot
