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
    """The time of one run: its begin, and the seconds since.

    A wall clock that is set meanwhile changes nothing. A listing with a time in the future would
    hide every visit that ends until then.
    """

    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _mark: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """The time now, zone-aware; never earlier than in a previous call."""
        return self._began + timedelta(seconds=time.monotonic() - self._mark)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Everything that one run works with: server, catalogue, workers, clock, progress."""

    session: ServerSession
    transfer_options: TransferOptions
    worker_pool: WorkerPool
    catalogue: Catalogue
    stop: Stop
    board: ProgressBoard
    transfers_here: bool = True
    """Whether this process transfers, so that its streams may be connected in advance."""
    retries: int = 0
    """How often a lost connection is tried again at once."""
    clock: Clock = field(default_factory=Clock)

    @property
    def remote(self) -> Server:
        """The facility's server."""
        return self.session.server

    def time_to_keep_from(self) -> datetime:
        """From when on an earlier version that is kept now counts as kept.

        Not before any time in the catalogue: with a clock that is behind, the version would pass
        for one that has been kept for long, in a copy that was proven again since.

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
        """Seconds to the facility and back, if it offers SFTP and the time was measured."""
        facts = self.session.facts
        return facts.round_trip if facts.offers_sftp else None

    def prepare(self, amount: DataSize | None, *, concurrent: int = 0) -> None:
        """Begin to connect for a transfer that will follow, of about `amount` (None: unknown).

        `concurrent`: how many others are being connected.
        """
        if self.catalogue.writing and self.transfers_here:
            prepare(self.transfer_options, self.worker_pool, amount, concurrent)

    def listing_diff(
        self, copy: Copy, *, compare: bool = True, expected: DataSize | None = None
    ) -> ListingDiff:
        """List an experiment, compare it with its copy at home, and store the listing.

        Unless `compare`, all listed entries count as at home. `expected`: the size of the transfer
        that will follow, if known.

        Raises:
            CatalogueError: the listing cannot be stored.
            ListingError: it could not be listed.
            Stopped: a stop was requested meanwhile.
            OSError: the copy at home cannot be read.
        """
        with contextlib.ExitStack() as stack:
            copy_tree = None
            if compare:
                with contextlib.suppress(FileNotFoundError):
                    copy_tree = stack.enter_context(SafeTree.of(copy))
            return self._compare(copy, copy_tree, expected, compare=compare)

    def _compare(
        self, copy: Copy, copy_tree: SafeTree | None, expected: DataSize | None, *, compare: bool
    ) -> ListingDiff:
        recorded_facts = self.catalogue.copy_files_of(copy)
        for tries in itertools.count():
            comparer = ListingComparer(
                copy_tree,
                self.clock.now(),
                compare=compare,
                size_only=self.transfer_options.compare == "size",
                recorded=recorded_facts.recorded if recorded_facts is not None else None,
                restore=self.transfer_options.restore,
                block=block_for(copy),
            )
            listing = self.catalogue.listing(copy)
            handler = _ListingHandler(self, comparer, listing, expected)
            try:
                unlisted = list_experiment(
                    self.session, copy.source, handler.add_entry, self.stop,
                    dot_files=self.transfer_options.dot_files,
                )  # fmt: skip
                break
            except ListingError as error:
                if not (error.transient and self.try_again(tries, f"{copy.epn}: {error}")):
                    raise
        if comparer.link is not None:
            path = escaped(comparer.link)
            log.warning("%s: at home, %s is a symbolic link, which is not followed", copy.epn, path)
        if comparer.timeless is not None:
            log.warning(
                "%s: SFTP cannot report the time of %s (before 1970 or after 2106), so only size "
                "is compared; the first of them: %s", copy.epn,
                count(comparer.timeless_files, "file"), escaped(comparer.timeless),
            )  # fmt: skip
        for folder in unlisted[:_MAX_NAMED]:
            log.warning("%s: could not be listed at the facility: %s", copy.epn, folder)
        if len(unlisted) > _MAX_NAMED:
            log.warning("%s: and %d more folders", copy.epn, len(unlisted) - _MAX_NAMED)
        listing_diff = replace(comparer.result(), unlisted=tuple(unlisted))
        if listing is None:
            return listing_diff
        listing.finish(self.round_trip, [folder.path for folder in unlisted])
        return replace(listing_diff, listing=listing.number)

    def try_again(self, tries: int, failed: str) -> bool:
        """Wait for another try after a lost connection, longer each time; whether to try it."""
        if tries >= self.retries or self.stop.requested:
            return False
        seconds = _BACKOFF.seconds(tries + 1)
        log.warning("%s; trying again in %s", failed, duration(seconds))
        return not self.stop.wait(seconds)


class _ListingHandler:
    """Takes each listed entry: compares and stores it, and connects streams meanwhile."""

    def __init__(
        self,
        context: RunContext,
        comparer: ListingComparer,
        listing: ListingWriter | None,
        expected: DataSize | None,
    ) -> None:
        self._context = context
        self._comparer = comparer
        self._listing = listing
        self._expected = expected
        self._prepare_from: float = _MIN_BYTES_TO_PREPARE if expected is None else 0

    def add_entry(self, entry: Entry) -> None:
        local_state = self._comparer.add(entry)
        if self._listing is not None:
            self._listing.add(entry, local_state)
        if self._comparer.missing_bytes >= self._prepare_from:
            self._prepare_from = math.inf
            self._context.prepare(self._expected)


def run_context(
    settings: Shared,
    stop: Stop,
    board: ProgressBoard,
    *,
    write: bool,
    session: ServerSession | None = None,
) -> RunContext:
    """The context for a config; without `write`, the catalogue is only read.

    `session`: with the facility's server, if one was begun.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    session = session or ServerSession(remote_of(settings))
    transfer_options = transfer_options_of(settings)
    address = settings.catalogue_address
    catalogue = Catalogue.open(address) if write else Catalogue.preview(address)
    if write and session.facts.round_trip is None:  # who only reads has no streams
        stored_round_trip = catalogue.round_trip()
        if stored_round_trip is not None:
            session.note_round_trip(stored_round_trip)
    return RunContext(
        session=session,
        transfer_options=transfer_options,
        worker_pool=WorkerPool(session, transfer_options.bandwidth),
        catalogue=catalogue,
        stop=stop,
        board=board,
    )
