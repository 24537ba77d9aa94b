"""The service: a cycle now and then, for years; whatever goes wrong, the next one comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.config import Settings
from asynchy.domain import pulse
from asynchy.domain.stop import Stop
from asynchy.domain.text import duration
from asynchy.errors import AsynchyError, ExitCode, StateLost, Stopped
from asynchy.service.board import Board
from asynchy.service.cycle import run_cycle
from asynchy.service.cycle_preparation import prepare_cycle
from asynchy.service.heard import Heard
from asynchy.service.work import Report

log = logging.getLogger(__name__)

_CONFIG_LOOK = 5.0
"""Seconds between two looks at the config file while waiting for the next cycle."""


@dataclass
class Config:
    """The config file of a service: read anew when it has changed, the old one kept if broken."""

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
        log.info("the config was changed and read anew")
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
        self, config: Config, stop: Stop, board: Board, *, new_state: bool = False
    ) -> None:
        self.trouble: str | None = None
        self._config = config
        self._stop = stop
        self._board = board
        self._wake = threading.Event()
        self._failures = 0
        self._heard: dict[int, Heard] = {}
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
        while not self._stop.asked:
            self._config.refresh()
            self._board.next_look = None
            self._wait(self._cycle())

    def _wait(self, code: ExitCode) -> None:
        if self._stop.asked:
            return
        seconds = self._pause(code)
        self._board.phase("waiting")
        log.info("next look in %s", duration(seconds))
        woken = self._sleep(seconds)
        if woken or code is ExitCode.OK:
            self._heard.clear()  # a new cycle, and no second try of the old one

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
        self._tell(report)
        return report.exit_code

    def _work(self) -> Report:
        site, plan = prepare_cycle(
            self._config.settings,
            self._stop,
            self._board,
            new_state=self._new_state,
            heard=self._heard,
        )
        self._new_state, self._has_planned = False, True
        return run_cycle(site, plan)

    def _tell(self, report: Report) -> None:
        complete = sum(outcome.complete for outcome in report.outcomes)
        due = [outcome.copy.epn.text for outcome in report.outcomes if not outcome.complete]
        due += [item.epn.text for item in report.plan.left_out if item.reason.stays_due]
        found = [*report.plan.problems, *report.problems, *report.defects, *report.attention]
        if due:
            found.append(f"due: {', '.join(due)}")
        self.trouble = "; ".join(found) or None
        log.info("cycle ended: %d completed, %d still due", complete, len(due))

    def _pause(self, code: ExitCode) -> float:
        """Seconds until the next cycle: sooner after one that was not complete, with back-off."""
        settings = self._config.settings
        regular = settings.sync_frequency_hours * 3600
        if code is ExitCode.OK:
            self._failures = 0
            return regular
        soon: float = settings.retry_minutes * 60 * 2 ** min(self._failures, 30)
        self._failures += 1
        return min(soon, regular)

    def _sleep(self, seconds: float) -> bool:
        """Wait so long; whether somebody, or a changed config, wants a new cycle before that."""
        # By the monotonic clock: one that is set back must not put the next cycle off.
        until = time.monotonic() + seconds
        looked = time.monotonic()
        while not self._stop.asked and (left := until - time.monotonic()) > 0:
            self._board.beat()
            pulse.beat()
            self._board.next_look = datetime.now(UTC) + timedelta(seconds=left)
            if self._wake.wait(min(left, 0.5)):
                self._wake.clear()
                log.info("asked to look now")
                return True
            if time.monotonic() - looked > _CONFIG_LOOK:
                looked = time.monotonic()
                if self._config.refresh():
                    return True
        return False
