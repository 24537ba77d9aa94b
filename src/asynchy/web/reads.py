"""What the pages and the API show: one function for each, from the snapshot and the catalogue."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.config import Settings, load
from asynchy.errors import ConfigError
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_query import ExperimentQuery
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import moment, size
from asynchy.model.pause import HOW_TO_END
from asynchy.model.transfer_progress import RateSample
from asynchy.runtime.warm_up import remote_of
from asynchy.ssh import connection_limit
from asynchy.web.file_totals import FileCounter
from asynchy.web.snapshot import SnapshotKeeper, StateView
from asynchy.web.views import ExperimentView, LiveView, NowView, Problem

_REOPEN = 30.0
"""Seconds after which the catalogue is opened again: how it can be read may have changed."""
_HOUR = timedelta(hours=1)
_MINUTE = 60
_DELAY = timedelta(hours=2)
"""By how much a cycle may be late before the page says so."""
_URGENT_SHOWN = 12
_FOLDERS_NAMED = 3
SERVICE = "mxsync"


class DashboardReader:
    """Reads for pages and API. Safe to use from several threads.

    All methods raise `CatalogueError` if the catalogue cannot be read.
    """

    def __init__(self, config: Path, keeper: SnapshotKeeper) -> None:
        self.config = config
        self.keeper = keeper
        self._counter = FileCounter(config)
        self._lock = threading.Lock()
        self._settings = load(config).settings
        self._config_seen = _identity(config)
        self._catalogue: Catalogue | None = None
        self._opened = 0.0

    @property
    def settings(self) -> Settings:
        """What the config says; read again when the file has changed, unless it is broken now."""
        with self._lock:
            seen = _identity(self.config)
            if seen != self._config_seen:
                self._config_seen = seen
                with contextlib.suppress(ConfigError):  # what derives the states says it
                    self._settings = load(self.config).settings
            return self._settings

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue, for reading alone: no writer waits for it.

        One that is gone is never taken for an empty one, in which no token would count.
        """
        with self._lock:
            address = self._settings.catalogue_address
            is_gone = isinstance(address, Path) and not address.exists()
            if self._catalogue is None or is_gone or time.monotonic() - self._opened > _REOPEN:
                self._catalogue = None
                self._catalogue = Catalogue.open_existing(address)
                self._opened = time.monotonic()
            return self._catalogue

    def live(self) -> LiveView:
        """What goes on right now."""
        return live_view(self.catalogue, self.settings)

    def now(self) -> NowView:
        """What an operator reads first."""
        live, states = self.live(), self.keeper.first(5)
        urgent: tuple[ExperimentSummary, ...] = ()
        number = looked_at = 0
        causes: dict[str, int] = {}
        counts: dict[str, int] = {}
        if states is not None:
            page = states.snapshot.page(ExperimentQuery(needs_person=True, per_page=_URGENT_SHOWN))
            causes = states.snapshot.counts("cause")
            number = sum(causes.values())
            looked_at = page.total - number
            urgent = page.rows
            counts = states.snapshot.counts("state")
        return NowView(
            live=live,
            states=states,
            problems=tuple(self.problems(live, states)),
            urgent=urgent,
            number_urgent=number,
            causes=causes,
            number_looked_at=looked_at,
            counts=counts,
            latest=tuple(self.catalogue.web.latest_attempts(8)),
        )

    def problems(self, live: LiveView, states: StateView | None) -> Iterable[Problem]:
        """Why nothing comes home, or not all is known."""
        yield from _of_service(live)
        if states is None:
            text = self.keeper.problem or "the states of experiments are being derived"
            yield Problem(f"No states are known yet: {text}", is_grave=bool(self.keeper.problem))
            return
        if states.problem is not None:
            yield Problem(
                f"The states are of {moment(states.at)}, and no newer ones could be derived: "
                f"{states.problem}"
            )
        elif states.is_old:
            yield Problem(
                f"The states are of {moment(states.at)}; newer ones are being derived",
                "load the page again in some seconds",
            )
        if states.facts["lost"] is not None:
            yield Problem(*states.facts["lost"])
        yield from self._of_portal(states, live.now)
        for disk in states.facts["forecast"]["disks"]:
            if disk["fits"] is False:
                yield Problem(
                    f"What is to come does not fit: {size(disk['wanted'])} to come, "
                    f"{size(disk['free'])} free in {', '.join(disk['folders'][:_FOLDERS_NAMED])}",
                    "make room there, or assign projects to another file system",
                    is_grave=False,
                )

    def _of_portal(self, states: StateView, now: datetime) -> Iterable[Problem]:
        asked = states.facts["portal"]
        if asked is None:
            yield Problem("The portal has not reported any visit yet", is_grave=False)
            return
        limit = timedelta(hours=self.settings.sync_frequency_hours) + _DELAY
        answered = self.catalogue.overview.answered_until()
        late = [since for since in answered.values() if now - since > limit]
        if late:
            yield Problem(
                f"Visits since {moment(min(late))} are not known: the portal has not answered "
                "completely since then",
                "see the log of mxsync; `asynchy doctor` checks the portal",
            )

    def experiment(self, epn: str, beamline: str) -> ExperimentView | None:
        """All that is known of one experiment; None: there is none, or no states are known."""
        states = self.keeper.first(5)
        if states is None:
            return None
        found = states.snapshot.of_epn(epn)
        summary = next((one for one in found if one.beamline == beamline), None)
        if summary is None:
            return None
        catalogue = self.catalogue
        copies = [
            one
            for one in catalogue.overview.copies([epn])
            if one.copy.experiment.beamline == beamline
        ]
        places = {str(one.copy.destination) for one in copies}
        several = len(found) > 1
        experiment = Experiment(beamline, Epn(epn))
        attempts = tuple(
            item for item in catalogue.history.attempts_of(epn)
            if not several or item[0] in places
        )  # fmt: skip
        checks = tuple(
            item for item in catalogue.history.checks_of(epn) if not several or item[0] in places
        )
        return ExperimentView(
            summary=summary,
            states=states,
            copies=tuple(copies),
            visits=tuple(catalogue.web.visits_of(experiment)),
            attempts=attempts,
            checks=checks,
            events=tuple(
                one for one in catalogue.decisions.events_of(epn)
                if one.experiment.beamline == beamline
            ),
            actions=tuple(catalogue.web_access.actions(100, epn)),
            running=tuple(
                one for one in catalogue.transfers.running() if one.experiment == experiment
            ),
            files=self._counter.totals(
                catalogue, summary, copies, (len(attempts), len(checks), summary.damaged)
            ),
            siblings=tuple(one for one in found if one is not summary),
        )  # fmt: skip


def live_view(catalogue: Catalogue, settings: Settings) -> LiveView:
    """What goes on right now, as a catalogue and the kernel of this machine say.

    Raises:
        CatalogueError: it cannot be read.
    """
    now, services = datetime.now(UTC), catalogue.services()
    server = remote_of(settings)
    return LiveView(
        now=now,
        service=next((one for one in services if one.name == SERVICE), None),
        others=tuple(one for one in services if one.name != SERVICE),
        pause=catalogue.pauses.current(now),
        running=tuple(catalogue.transfers.running()),
        samples=tuple(_each_minute(catalogue.transfers.samples(now - _HOUR), now)),
        complete_cycle=catalogue.health.complete_cycle(),
        connections=connection_limit.in_use(server),
        most_connections=server.connections,
    )


def _of_service(live: LiveView) -> Iterable[Problem]:
    service = live.service
    if service is None:
        yield Problem(
            "mxsync has never run as a service: nothing comes home by itself",
            "start it: `mxsync --execute`, or its systemd unit",
        )
    elif not service.alive:
        stopped = service.doing == "stopped"
        how = "was stopped" if stopped else "ended without being stopped"
        yield Problem(
            f"mxsync does not run: it {how} {moment(service.heartbeat)}",
            "start it: `mxsync --execute`, or its systemd unit",
        )
    elif live.now - service.heartbeat > timedelta(minutes=2):
        yield Problem(
            f"mxsync has said nothing since {moment(service.heartbeat)}, though its process "
            f"{service.pid} on {service.host} is there",
            "look at its log, and start it again if it hangs",
        )
    if live.pause is not None:
        yield Problem(f"mxsync is {live.pause}", HOW_TO_END, is_grave=False)
    if service is not None and service.alive and service.trouble:
        yield Problem(f"The latest cycle: {service.trouble}", is_grave=False)


def _each_minute(found: Iterable[RateSample], now: datetime) -> Iterable[RateSample]:
    """Sixty samples, zero where nothing arrived; the last one is of a part of a minute."""
    by_minute = {one.at: one for one in found}
    last = now.replace(second=0, microsecond=0)
    for back in range(59, 0, -1):
        at = last - timedelta(minutes=back)
        yield by_minute.get(at, RateSample(at, _MINUTE, 0))
    begun = max(1, int((now - last).total_seconds()))
    yield replace(by_minute.get(last, RateSample(last, _MINUTE, 0)), seconds=begun)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
