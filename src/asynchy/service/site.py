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
from asynchy.catalogue.contents import Listing
from asynchy.config import Shared
from asynchy.domain.experiment import Amount, Copy, Entry, Survey
from asynchy.domain.stop import Stop
from asynchy.domain.text import duration, shown
from asynchy.errors import ListingError
from asynchy.facility.digests import Way
from asynchy.facility.listing import list_experiment, offers_sftp
from asynchy.plan.engine import Means
from asynchy.service.ahead import remote_of
from asynchy.service.board import Board
from asynchy.service.engines import engine_for, prepare
from asynchy.service.means import means_of
from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp import kept
from asynchy.transfer.crew import Crew
from asynchy.transfer.engine import Engine
from asynchy.tree import Tree
from asynchy.verify.survey import Surveyor

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 60
_MUCH = 4 << 20
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
class Site:
    """The facility, the catalogue and the means of one run."""

    remote: Remote
    means: Means
    crew: Crew
    catalogue: Catalogue
    stop: Stop
    board: Board
    transfers_here: bool = True
    """Whether it is this process that transfers, so that its streams may be connected ahead."""
    retries: int = 0
    """How often a connection that was lost is tried again at once."""
    clock: Clock = field(default_factory=Clock)
    ways: dict[Remote, Way] = field(default_factory=dict)
    """How what the facility holds is compared with what is at home, once it was found out."""

    def engine(self) -> Engine:
        """The engine for a transfer, once the experiment has been listed."""
        return engine_for(self.means, self.crew)

    @property
    def round_trip(self) -> float | None:
        """Seconds to the facility and back, where it offers SFTP and has been asked something."""
        return kept.round_trip(self.remote) if offers_sftp(self.remote) else None

    def prepare(self, amount: Amount | None, *, beside: int = 0) -> None:
        """Have connections ready soon: there will be something to transfer, perhaps so much.

        `beside`: how many others are being connected.
        """
        if self.catalogue.writing and self.transfers_here:
            prepare(self.means, self.crew, amount, beside)

    def survey(self, copy: Copy, *, look: bool = True, expected: Amount | None = None) -> Survey:
        """List an experiment and hold it against its copy at home; store the listing.

        Unless `look`, all that was listed is taken to be at home. `expected` is what will have to
        be fetched, where that is known.

        Raises:
            CatalogueError: the listing cannot be stored.
            ListingError: it could not be listed whole.
            Stopped: a stop was asked for meanwhile.
            OSError: what is at home cannot be read.
        """
        with contextlib.ExitStack() as stack:
            home = None
            if look:
                with contextlib.suppress(FileNotFoundError):
                    home = stack.enter_context(Tree.of(copy))
            return self._survey(copy, home, expected, look=look)

    def _survey(
        self, copy: Copy, home: Tree | None, expected: Amount | None, *, look: bool
    ) -> Survey:
        known = self.catalogue.holdings_of(copy)
        for tries in itertools.count():
            surveyor = Surveyor(
                home,
                self.clock.now(),
                look=look,
                size_only=self.means.compare == "size",
                recorded=known.recorded if known is not None else None,
                restore=self.means.restore,
            )
            listing = self.catalogue.listing(copy)
            hearing = _Hearing(self, surveyor, listing, expected)
            try:
                list_experiment(self.remote, copy.source, hearing.hear, self.stop)
                break
            except ListingError as error:
                if not (error.transient and self.try_again(tries, f"{copy.epn}: {error}")):
                    raise
        if surveyor.link is not None:
            path = shown(surveyor.link)
            log.warning("%s: at home, %s is a symbolic link, which is not followed", copy.epn, path)
        if listing is None:
            return surveyor.result()
        listing.finish(self.round_trip)
        return replace(surveyor.result(), listing=listing.number)

    def try_again(self, tries: int, what: str) -> bool:
        """Wait for another try after a lost connection, longer each time; whether to try it."""
        if tries >= self.retries or self.stop.asked:
            return False
        seconds = min(2**tries, _LONGEST_PAUSE)
        log.warning("%s; trying again in %s", what, duration(seconds))
        return not self.stop.wait(seconds)


class _Hearing:
    """Takes what is listed: held against what is at home, stored, streams connected meanwhile."""

    def __init__(
        self, site: Site, surveyor: Surveyor, listing: Listing | None, expected: Amount | None
    ) -> None:
        self._site = site
        self._surveyor = surveyor
        self._listing = listing
        self._expected = expected
        self._pays_from: float = _MUCH if expected is None else 0

    def hear(self, entry: Entry) -> None:
        found = self._surveyor.add(entry)
        if self._listing is not None:
            self._listing.add(entry, found)
        if self._surveyor.missing_bytes >= self._pays_from:
            self._pays_from = math.inf
            self._site.prepare(self._expected)


def site_of(settings: Shared, stop: Stop, board: Board, *, write: bool) -> Site:
    """The site that a config describes; without `write`, the catalogue is only looked at.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    remote = remote_of(settings)
    means = means_of(settings)
    path = settings.catalogue_path
    catalogue = Catalogue.open(path) if write else Catalogue.peek(path)
    if write and kept.round_trip(remote) is None:  # who only looks has no streams to connect
        far = catalogue.round_trip()
        if far is not None:
            kept.remember_round_trip(remote, far)
    return Site(
        remote=remote,
        means=means,
        crew=Crew(remote, means.bandwidth),
        catalogue=catalogue,
        stop=stop,
        board=board,
    )
