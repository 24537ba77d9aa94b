"""Executes a plan, several experiments at a time, and reports the outcomes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from asynchy.copying.fetch import Outcome, fetch_copy
from asynchy.copying.replaced_files import with_less
from asynchy.errors import AsynchyError, CatalogueError, ExitCode
from asynchy.model.attempt import Verdict
from asynchy.model.plan import Plan, PlannedTransfer, SkipReason
from asynchy.runtime.context import RunContext

log = logging.getLogger(__name__)

Fetch = Callable[[RunContext, PlannedTransfer, str | None], Outcome]


@dataclass(frozen=True)
class RunReport:
    """The report of one run."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...] = ()
    """Problems with asynchy's own state: `ignore.yml`, the catalogue."""
    defects: tuple[str, ...] = ()
    """Errors that asynchy itself did not expect."""
    attention: tuple[str, ...] = ()
    """Sentences about things that need a person, though nothing is due."""

    @property
    def exit_code(self) -> ExitCode:
        """The exit code; if several apply, the first of the list below."""
        if self.defects:
            return ExitCode.INTERNAL
        if self.problems:
            return ExitCode.STATE_ERROR
        codes = exit_code_for(self.plan, self.outcomes)
        return ExitCode.INCOMPLETE if codes is ExitCode.OK and self.attention else codes


def exit_code_for(plan: Plan, outcomes: tuple[Outcome, ...]) -> ExitCode:
    """The exit code of a run, by its plan and its outcomes.

    STATE_ERROR if rows of the catalogue cannot be used, REMOTE_UNAVAILABLE if something could not
    be asked, INCOMPLETE if something stays due.
    """
    if plan.odd_rows:
        return ExitCode.STATE_ERROR
    unasked = {SkipReason.UNLISTED, SkipReason.UNREACHABLE} & {
        item.reason for item in plan.left_out
    }
    if plan.problems or plan.unlisted or unasked:
        return ExitCode.REMOTE_UNAVAILABLE
    open_ends = plan.beyond_limit or any(not item.reason.ends_well for item in plan.left_out)
    if open_ends or any(not outcome.complete for outcome in outcomes):
        return ExitCode.INCOMPLETE
    return ExitCode.OK


class Executor:
    """Carries out one plan."""

    def __init__(self, context: RunContext, plan: Plan, *, fetch: Fetch = fetch_copy) -> None:
        self._context = context
        self._plan = plan
        self._fetch = fetch
        self._stopping = False
        self._outcomes: list[Outcome] = []
        self._problems: list[str] = []
        self._defects: list[str] = []

    def run(self, at_a_time: int) -> RunReport:
        """Execute the plan, `at_a_time` experiments at a time, until done or stopped."""
        transfers = self._plan.transfers
        self._context.board.plan(sum(transfer.listing_diff.missing_bytes for transfer in transfers))
        with ThreadPoolExecutor(at_a_time) as pool:
            waiting = {
                pool.submit(self._fetch, self._context, transfer, self._plan.unsure): transfer
                for transfer in transfers
            }
            while waiting:
                self._context.board.waiting(sum(not future.running() for future in waiting))
                self._context.board.beat()
                completed, _ = wait(waiting, timeout=0.2)
                if self._context.stop.requested:
                    self._say_stopping()
                    pool.shutdown(wait=False, cancel_futures=True)
                    # `wait` never reports these: their thread no longer takes them.
                    completed |= {future for future in waiting if future.cancelled()}
                for future in completed:
                    self._collect(waiting.pop(future), future)
        self._context.board.waiting(0)
        order = {transfer.copy: at for at, transfer in enumerate(transfers)}
        self._outcomes.sort(key=lambda outcome: order[outcome.copy])
        copies = {outcome.copy for outcome in self._outcomes}
        attention: list[str] = []
        try:
            attention = with_less(self._context, copies) if copies else []
        except CatalogueError as error:
            log.error("earlier versions of files could not be checked: %s", error)
            self._problems.append(str(error))
        return RunReport(
            self._plan,
            tuple(self._outcomes),
            problems=tuple(self._problems),
            defects=tuple(self._defects),
            attention=tuple(attention),
        )

    def _say_stopping(self) -> None:
        if not self._stopping:
            self._stopping = True
            log.warning("stopping; fetched data is kept (a second signal stops at once)")

    def _collect(self, transfer: PlannedTransfer, future: Future[Outcome]) -> None:
        copy = transfer.copy
        try:
            outcome = future.result()
        except CancelledError:
            outcome = Outcome(copy, Verdict.STOPPED, "stopped before it began")
        except AsynchyError as error:
            self._problems.append(f"{copy.epn}: {error}")
            outcome = Outcome(copy, Verdict.FAILED, str(error), error.hint)
            log.error("%s: %s", copy.epn, error)
        except Exception as error:
            log.exception("%s: an error that asynchy did not expect", copy.epn)
            self._defects.append(f"{copy.epn}: {error!r}")
            outcome = Outcome(copy, Verdict.FAILED, "an error that asynchy did not expect")
        self._outcomes.append(outcome)
