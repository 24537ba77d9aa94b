"""The service: runs a cycle every few hours, for years; after any error, the next one follows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.config import Settings
from asynchy.errors import AsynchyError, ExitCode, StateLost, Stopped
from asynchy.facility.portal.visit_window import VisitWindow
from asynchy.model import heartbeat
from asynchy.model.backoff import Backoff
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import duration
from asynchy.model.pause import Pause
from asynchy.repatriation.cycle import run_cycle
from asynchy.repatriation.cycle_preparation import prepare_cycle, read_state
from asynchy.repatriation.executor import RunReport
from asynchy.runtime.progress import ProgressBoard

log = logging.getLogger(__name__)

_CONFIG_CHECK_INTERVAL = 5.0  # seconds
"""Seconds between two looks at the config file while waiting for the next cycle."""
_PAUSE_CHECK_INTERVAL = 5.0  # seconds
"""Seconds between two looks whether a pause has ended."""


@dataclass
class ServiceConfig:
    """The config file of a service: read again when it has changed, the old one kept if broken."""

    path: Path
    read: Callable[[Path], Settings]
    settings: Settings
    _seen: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Remember the file as it is now."""
        self._seen = self._identity()

    def refresh(self) -> bool:
        """Read the file if it has changed; whether other settings are in force now."""
        identity = self._identity()
        if identity == self._seen:
            return False
        self._seen = identity
        try:
            self.settings = self.read(self.path)
        except AsynchyError as error:
            log.error("the config was changed and cannot be used; the old one stays: %s", error)
            return False
        log.info("the config was changed and read again")
        return True

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class Daemon:
    """Runs cycles until it is asked to stop."""

    def __init__(
        self,
        config: ServiceConfig,
        stop: Stop,
        board: ProgressBoard,
        pause: Callable[[], Pause | None],
        *,
        new_state: bool = False,
    ) -> None:
        """`pause`: returns the pause in force, from the catalogue."""
        self.trouble: str | None = None
        self._pause = pause
        self._cycle_stop = stop.child()
        self._config = config
        self._stop = stop
        self._board = board
        self._wake = threading.Event()
        self._failures = 0
        self._visit_windows: dict[int, VisitWindow] = {}
        self._new_state = new_state
        self._has_planned = False

    def wake(self) -> None:
        """Start a cycle now; safe in a signal handler."""
        self._wake.set()

    def run(self) -> None:
        """Cycle after cycle, until asked to stop.

        With `new_state`, state that is lost is accepted, in the first cycle alone.

        Raises:
            StateLost: `ignore.yml` or the catalogue is missing in the first cycle. If they vanish
                later, the cycles after that fail until they are back.
        """
        while self._may_begin():
            self._cycle_stop = self._stop.child()
            code = self._cycle()
            if not self._cycle_stop.requested:
                self._wait(code)

    def _may_begin(self) -> bool:
        """Wait while the service is paused; False if it is to stop."""
        if not self._stop.requested:
            self._config.refresh()
            self._board.next_look = None
            self._sit_out_pause()
        return not self._stop.requested

    def check_pause(self) -> None:
        """End the transfers of a cycle if the service is paused; fetched data is kept.

        Raises:
            CatalogueError: the catalogue cannot be used.
        """
        pause = self._pause()
        if pause is not None and not self._cycle_stop.requested:
            log.warning("%s: transfers end, and go on after `asynchy resume`", pause)
            self._cycle_stop.request()

    def _sit_out_pause(self) -> None:
        paused = False
        while not self._stop.requested and (pause := self._current_pause()) is not None:
            paused = True
            self._board.phase(str(pause))
            self._sleep(_PAUSE_CHECK_INTERVAL, self._stop)
        if paused and not self._stop.requested:
            log.info("the pause has ended")

    def _current_pause(self) -> Pause | None:
        try:
            return self._pause()
        except AsynchyError as error:  # the cycle reports the problem of the catalogue
            log.debug("whether the service is paused is not known: %s", error)
            return None

    def _wait(self, code: ExitCode) -> None:
        if self._stop.requested:
            return
        seconds = self._until_next(code)
        self._board.phase("waiting")
        log.info("next look in %s", duration(seconds))
        was_woken = self._sleep(seconds, self._cycle_stop)
        if was_woken or code is ExitCode.OK:
            self._visit_windows.clear()  # a new cycle, and no second try of the old one

    def _cycle(self) -> ExitCode:
        """One cycle; nothing that it raises ends the service, but lost state in the first one."""
        try:
            report = self._work()
        except Stopped:
            return ExitCode.OK
        except AsynchyError as error:
            if isinstance(error, StateLost) and not self._has_planned:
                raise
            log.error("the cycle failed: %s%s", error, f" ({error.hint})" if error.hint else "")
            self.trouble = str(error)
            return error.exit_code
        except Exception as error:
            log.exception("the cycle failed: an error that asynchy did not expect")
            self.trouble = f"an error that asynchy did not expect: {error!r}"
            return ExitCode.INTERNAL
        self._log_end(report)
        return report.exit_code

    def _work(self) -> RunReport:
        settings = self._config.settings
        files = read_state(settings, new_state=self._new_state)
        context, plan = prepare_cycle(
            settings, self._cycle_stop, self._board, files, visit_windows=self._visit_windows
        )
        self._new_state, self._has_planned = False, True
        return run_cycle(context, plan)

    def _log_end(self, report: RunReport) -> None:
        complete = sum(outcome.complete for outcome in report.outcomes)
        due = [outcome.copy.epn.text for outcome in report.outcomes if not outcome.complete]
        due += [item.epn.text for item in report.plan.left_out if item.reason.stays_due]
        problems = [*report.plan.problems, *report.problems, *report.defects, *report.attention]
        if due:
            problems.append(f"due: {', '.join(due)}")
        self.trouble = "; ".join(problems) or None
        log.info("cycle ended: %d completed, %d still due", complete, len(due))

    def _until_next(self, code: ExitCode) -> float:
        """Seconds until the next cycle: sooner after one that was not complete, with back-off."""
        settings = self._config.settings
        regular = settings.sync_frequency_hours * 3600
        if code is ExitCode.OK:
            self._failures = 0
            return regular
        self._failures += 1
        return Backoff(settings.retry_minutes * 60, longest=regular).seconds(self._failures)

    def _sleep(self, seconds: float, stop: Stop) -> bool:
        """Wait; True if a person, or a changed config, asks for a cycle before that."""
        # By the monotonic clock: one that is set back must not put the next cycle off.
        deadline = time.monotonic() + seconds
        checked_at = time.monotonic()
        while not stop.requested and (remaining := deadline - time.monotonic()) > 0:
            self._board.beat()
            heartbeat.beat()
            self._board.next_look = datetime.now(UTC) + timedelta(seconds=remaining)
            if self._wake.wait(min(remaining, 0.5)):
                self._wake.clear()
                log.info("asked to look now")
                return True
            if time.monotonic() - checked_at > _CONFIG_CHECK_INTERVAL:
                checked_at = time.monotonic()
                if self._config.refresh():
                    return True
        return False
