"""A plan carried out, several experiments at a time, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from asynchy.domain.attempt import Verdict
from asynchy.errors import AsynchyError, ExitCode
from asynchy.plan.outcome import Left, Plan, Transfer
from asynchy.service.bring import Outcome, bring
from asynchy.service.site import Site

log = logging.getLogger(__name__)

Bring = Callable[[Site, Transfer, str | None], Outcome]


@dataclass(frozen=True)
class Report:
    """What one run did."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...] = ()
    """What went wrong with our own state: `ignore.yml`, the catalogue."""
    defects: tuple[str, ...] = ()
    """Errors that asynchy itself did not expect."""
    attention: tuple[str, ...] = ()
    """What a person has to look at, a sentence each, though nothing is due."""

    @property
    def exit_code(self) -> ExitCode:
        """What the run ends with; where several hold, the first of the list below."""
        if self.defects:
            return ExitCode.INTERNAL
        if self.problems:
            return ExitCode.STATE
        found = exit_code_for(self.plan, self.outcomes)
        return ExitCode.DUE if found is ExitCode.OK and self.attention else found


def exit_code_for(plan: Plan, outcomes: tuple[Outcome, ...]) -> ExitCode:
    """UNASKED if something could not be asked, DUE if something is due or needs a person."""
    unasked = {Left.UNLISTED, Left.UNREACHABLE} & {item.reason for item in plan.left_out}
    if plan.problems or plan.unlisted or unasked:
        return ExitCode.UNASKED
    open_ends = any(not item.reason.ends_well for item in plan.left_out)
    if open_ends or any(not outcome.complete for outcome in outcomes):
        return ExitCode.DUE
    return ExitCode.OK


class Work:
    """Carries out one plan."""

    def __init__(self, site: Site, plan: Plan, *, bring: Bring = bring) -> None:
        self._site = site
        self._plan = plan
        self._bring = bring
        self._stopping = False
        self._outcomes: list[Outcome] = []
        self._problems: list[str] = []
        self._defects: list[str] = []

    def run(self, at_a_time: int) -> Report:
        """Transfer what is planned, so many experiments at a time, until done or stopped."""
        transfers = self._plan.transfers
        self._site.board.plan(sum(transfer.survey.missing_bytes for transfer in transfers))
        with ThreadPoolExecutor(at_a_time) as pool:
            waiting = {
                pool.submit(self._bring, self._site, transfer, self._plan.unsure): transfer
                for transfer in transfers
            }
            while waiting:
                self._site.board.waiting(sum(not future.running() for future in waiting))
                self._site.board.beat()
                done, _ = wait(waiting, timeout=0.2)
                if self._site.stop.asked:
                    self._say_stopping()
                    pool.shutdown(wait=False, cancel_futures=True)
                    # `wait` never tells of these: nobody is left to take them and say so.
                    done |= {future for future in waiting if future.cancelled()}
                for future in done:
                    self._settle(waiting.pop(future), future)
        self._site.board.waiting(0)
        order = {transfer.copy: at for at, transfer in enumerate(transfers)}
        self._outcomes.sort(key=lambda outcome: order[outcome.copy])
        return Report(
            self._plan, tuple(self._outcomes), tuple(self._problems), tuple(self._defects)
        )

    def _say_stopping(self) -> None:
        if not self._stopping:
            self._stopping = True
            log.warning("stopping; what was fetched is kept (a second signal stops at once)")

    def _settle(self, transfer: Transfer, future: Future[Outcome]) -> None:
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
