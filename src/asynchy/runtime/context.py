"""Everything that a run works with, made from the config."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from asynchy.catalogue import Catalogue
from asynchy.catalogue.experiment_files import ListingWriter
from asynchy.config import Shared
from asynchy.engines.base import Engine
from asynchy.engines.factory import engine_for, prepare
from asynchy.engines.options import transfer_options_of
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.errors import ListingError
from asynchy.facility.lister import list_experiment
from asynchy.localfs.free_space import block_for
from asynchy.localfs.listing_comparison import ListingComparer
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.backoff import Backoff
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, DataSize, Entry, ListingDiff
from asynchy.model.formatting import count, duration, escaped
from asynchy.model.transfer_options import TransferOptions
from asynchy.runtime.progress import ProgressBoard
from asynchy.runtime.warm_up import remote_of
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first=1.0, longest=60.0)
"""Between two tries after a lost connection."""
_MAX_NAMED = 10
"""Folders that could not be listed and are named in the log."""
_MIN_BYTES_TO_PREPARE = 4 << 20
"""Bytes to fetch from which on it pays to connect streams before all has been listed."""


@dataclass(frozen=True)
class Clock:
    """The time of one run: when it began, and what has passed since.

    A wall clock that is set meanwhile changes nothing. A listing with a time in the future would
    hide every visit that ends until then.
    """

    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _mark: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """The time now, zone-aware; never earlier than it was said to be before."""
        return self._began + timedelta(seconds=time.monotonic() - self._mark)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The facility, the catalogue and the means of one run."""

    session: ServerSession
    transfer_options: TransferOptions
    worker_pool: WorkerPool
    catalogue: Catalogue
    stop: Stop
    board: ProgressBoard
    transfers_here: bool = True
    """Whether it is this process that transfers, so that its streams may be connected ahead."""
    retries: int = 0
    """How often a connection that was lost is tried again at once."""
    clock: Clock = field(default_factory=Clock)

    @property
    def remote(self) -> Server:
        """The facility's server."""
        return self.session.server

    def time_to_keep_from(self) -> datetime:
        """From when on an earlier version that is kept now counts as kept.

        That is not before anything that the catalogue knows of: by a clock that is behind, it would
        pass for one that has been kept for long, in a copy that was proven again since.

        Raises:
            CatalogueError: the catalogue cannot be used.
        """
        known, now = self.catalogue.latest_time(), self.clock.now()
        return now if known is None else max(now, known)

    def engine(self) -> Engine:
        """The engine for a transfer, once the experiment has been listed."""
        return engine_for(self.transfer_options, self.worker_pool)

    @property
    def round_trip(self) -> float | None:
        """Seconds to the facility and back, where it offers SFTP and has been asked something."""
        facts = self.session.facts
        return facts.round_trip if facts.offers_sftp else None

    def prepare(self, amount: DataSize | None, *, beside: int = 0) -> None:
        """Have connections ready soon: there will be something to transfer, perhaps so much.

        `beside`: how many others are being connected.
        """
        if self.catalogue.writing and self.transfers_here:
            prepare(self.transfer_options, self.worker_pool, amount, beside)

    def listing_diff(
        self, copy: Copy, *, look: bool = True, expected: DataSize | None = None
    ) -> ListingDiff:
        """List an experiment and hold it against its copy at home; store the listing.

        Unless `look`, all that was listed is taken to be at home. `expected` is what will have to
        be fetched, where that is known.

        Raises:
            CatalogueError: the listing cannot be stored.
            ListingError: it could not be listed.
            Stopped: a stop was requested meanwhile.
            OSError: what is at home cannot be read.
        """
        with contextlib.ExitStack() as stack:
            home = None
            if look:
                with contextlib.suppress(FileNotFoundError):
                    home = stack.enter_context(SafeTree.of(copy))
            return self._survey(copy, home, expected, look=look)

    def _survey(
        self, copy: Copy, home: SafeTree | None, expected: DataSize | None, *, look: bool
    ) -> ListingDiff:
        known = self.catalogue.copy_files_of(copy)
        for tries in itertools.count():
            surveyor = ListingComparer(
                home,
                self.clock.now(),
                look=look,
                size_only=self.transfer_options.compare == "size",
                recorded=known.recorded if known is not None else None,
                restore=self.transfer_options.restore,
                block=block_for(copy),
            )
            listing = self.catalogue.listing(copy)
            hearing = _Hearing(self, surveyor, listing, expected)
            try:
                unlisted = list_experiment(
                    self.session, copy.source, hearing.hear, self.stop,
                    dot_files=self.transfer_options.dot_files,
                )  # fmt: skip
                break
            except ListingError as error:
                if not (error.transient and self.try_again(tries, f"{copy.epn}: {error}")):
                    raise
        if surveyor.link is not None:
            path = escaped(surveyor.link)
            log.warning("%s: at home, %s is a symbolic link, which is not followed", copy.epn, path)
        if surveyor.timeless is not None:
            log.warning(
                "%s: the time of %s is not known over SFTP (before 1970 or after 2106), of which "
                "size alone is compared; the first of them: %s", copy.epn,
                count(surveyor.timeless_files, "file"), escaped(surveyor.timeless),
            )  # fmt: skip
        for folder in unlisted[:_MAX_NAMED]:
            log.warning("%s: could not be listed at the facility: %s", copy.epn, folder)
        if len(unlisted) > _MAX_NAMED:
            log.warning("%s: and %d more folders", copy.epn, len(unlisted) - _MAX_NAMED)
        found = replace(surveyor.result(), unlisted=tuple(unlisted))
        if listing is None:
            return found
        listing.finish(self.round_trip, [folder.path for folder in unlisted])
        return replace(found, listing=listing.number)

    def try_again(self, tries: int, what: str) -> bool:
        """Wait for another try after a lost connection, longer each time; whether to try it."""
        if tries >= self.retries or self.stop.requested:
            return False
        seconds = _BACKOFF.seconds(tries + 1)
        log.warning("%s; trying again in %s", what, duration(seconds))
        return not self.stop.wait(seconds)


class _Hearing:
    """Takes what is listed: compared with what is at home, stored, streams connected meanwhile."""

    def __init__(
        self,
        context: RunContext,
        surveyor: ListingComparer,
        listing: ListingWriter | None,
        expected: DataSize | None,
    ) -> None:
        self._context = context
        self._surveyor = surveyor
        self._listing = listing
        self._expected = expected
        self._pays_from: float = _MIN_BYTES_TO_PREPARE if expected is None else 0

    def hear(self, entry: Entry) -> None:
        found = self._surveyor.add(entry)
        if self._listing is not None:
            self._listing.add(entry, found)
        if self._surveyor.missing_bytes >= self._pays_from:
            self._pays_from = math.inf
            self._context.prepare(self._expected)


def run_context(
    settings: Shared,
    stop: Stop,
    board: ProgressBoard,
    *,
    write: bool,
    session: ServerSession | None = None,
) -> RunContext:
    """The site that a config describes; without `write`, the catalogue is only looked at.

    `session`: with the facility's server, where one was begun.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    session = session or ServerSession(remote_of(settings))
    transfer_options = transfer_options_of(settings)
    path = settings.catalogue_path
    catalogue = Catalogue.open(path) if write else Catalogue.preview(path)
    if write and session.facts.round_trip is None:  # who only looks has no streams to connect
        far = catalogue.round_trip()
        if far is not None:
            session.note_round_trip(far)
    return RunContext(
        session=session,
        transfer_options=transfer_options,
        worker_pool=WorkerPool(session, transfer_options.bandwidth),
        catalogue=catalogue,
        stop=stop,
        board=board,
    )
