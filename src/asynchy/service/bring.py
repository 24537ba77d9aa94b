"""Bring one experiment home: claim, transfer, list again, judge, record."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from asynchy.catalogue import process
from asynchy.catalogue.held import Holdings
from asynchy.domain.attempt import Attempt, Claim, EngineResult, Verdict
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.level import Level
from asynchy.domain.text import count, duration, size
from asynchy.errors import AsynchyError, DestinationTaken, ListingError, Stopped
from asynchy.kept_files import REPLACED, UNREPORTED, new_folder
from asynchy.plan.outcome import Transfer
from asynchy.plan.verdict import Judgement, check_made, judge, level_of
from asynchy.service.proof import judged, put_aside
from asynchy.service.receipt import write_down
from asynchy.service.replaced import report_replaced
from asynchy.service.site import Site
from asynchy.transfer.engine import Engine, Job
from asynchy.transfer.home import Home

log = logging.getLogger(__name__)

ROUNDS = 3
"""How often an experiment that changes meanwhile is fetched in one cycle."""
_HEARTBEAT = 60.0
_RECORDED = 5000
"""Files that are recorded in one transaction."""


@dataclass(frozen=True)
class Outcome:
    """What became of a planned transfer."""

    copy: Copy
    verdict: Verdict
    reason: str | None = None
    hint: str | None = None
    files: int = 0
    """Files moved, as far as is known."""
    bytes: int = 0
    """Bytes moved, as far as is known."""
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether the copy is complete now."""
        return self.verdict is Verdict.COMPLETE


def bring(site: Site, transfer: Transfer, unsure: str | None) -> Outcome:
    """Make a copy complete, or say why it is not; `unsure` as `judge` takes it.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy = transfer.copy
    try:
        claim = site.catalogue.claim(copy)
    except DestinationTaken as error:
        return Outcome(copy, Verdict.FAILED, error.message, error.hint)
    if isinstance(claim, Claim):
        return busy(copy, claim)
    with working_on(site, copy, claim):
        return rounds(site, transfer, claim, unsure)


def busy(copy: Copy, claim: Claim) -> Outcome:
    """What becomes of a copy that another process works on."""
    reason = f"process {claim.pid} on {claim.host} works on it"
    return Outcome(copy, Verdict.FAILED, reason)


def rounds(
    site: Site, transfer: Transfer, copy_id: int, unsure: str | None, *, again: bool = False
) -> Outcome:
    """Fetch what misses until the copy is complete, or it is known why it is not.

    The copy is claimed. `again`: files that differ from the facility's were put aside before.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy, before = transfer.copy, transfer.survey
    engine = site.engine()
    _tell_beginning(copy, before, engine)
    holdings = site.catalogue.holdings(copy_id)
    origin_known = holdings.known() == before.files - before.missing_files
    if not origin_known:
        report_replaced(site, copy, copy_id)  # before it is recorded what took the places
        _record_arrived(site, copy, holdings, Level.SIZE)
    begun = time.monotonic()
    files = moved = rounds = tries = 0
    while True:
        started = site.clock.now()
        site.board.begin(copy, before)
        result = _run_engine(site, engine, copy, copy_id, before)
        after = _list_again(site, copy, result)
        if after is None and site.stop.asked:
            result = replace(result, stopped=True)
        judgement = judge(result, before, after, unsure=unsure)
        level = level_of(engine.check, looked=site.means.looks, origin_known=origin_known)
        if judgement.all_at_home and after is not None:
            hold(holdings, copy, after, level)
            judgement = judged(site, copy, holdings, judgement, again=again)
        else:
            _record_arrived(site, copy, holdings, level)
        attempt = _attempt(site, engine, started, result, after, judgement)
        site.catalogue.record(copy_id, attempt, after)
        files, moved = files + (result.files or 0), moved + (result.bytes or 0)
        rounds += judgement.verdict is Verdict.CHANGED
        if judgement.verdict is Verdict.CHANGED and after is not None and rounds < ROUNDS:
            log.info("%s: %s; fetching what changed", copy.epn, judgement.reason)
            before = after
        elif judgement.verdict is Verdict.DIFFERENT and not again:
            again = True
            if (without := without_different(site, copy, holdings)) is None:
                break
            before = without
        elif result.lost and site.try_again(tries, f"{copy.epn}: {judgement.reason}"):
            tries += 1
        else:
            break
    outcome = Outcome(
        copy=copy,
        verdict=judgement.verdict,
        reason=judgement.reason,
        hint=result.hint,
        files=files,
        bytes=moved,
        seconds=time.monotonic() - begun,
    )
    _tell(outcome)
    if outcome.complete:
        write_down(site, copy, holdings)
    return outcome


def _run_engine(
    site: Site, engine: Engine, copy: Copy, copy_id: int, listed: Survey
) -> EngineResult:
    try:
        replaced = new_folder(copy, REPLACED, site.clock.now(), UNREPORTED)
        contents = site.catalogue.contents(copy, copy_id)
        job = Job(copy, listed, contents, replaced, restore=site.means.restore)
        try:
            result = engine.transfer(
                job, site.stop, lambda size, files: site.board.arrived(copy, size, files)
            )
        finally:
            report_replaced(site, copy, copy_id)
        if result.ok:  # what could be resumed did not count as arriving
            site.board.arrived(copy, listed.missing_bytes, listed.missing_files)
        return result
    except AsynchyError as error:
        return _not_run(str(error), error.hint)
    except OSError as error:
        return _not_run(f"{error.filename or copy.destination}: {error.strerror}", None)


def _record_arrived(site: Site, copy: Copy, holdings: Holdings, level: Level | None) -> None:
    """Record which files are at home as listed, while the copy is not complete.

    From then on it is seen that a person changed one. They are made durable first: after a power
    failure, an older version that is back would look like a person's.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not site.means.looks:
        return
    contents = site.catalogue.contents(copy, holdings.copy_id)
    try:
        with Home(copy) as home:
            home.flush()
            # None is that large, so they come in order of path.
            there = (one for one in contents.files(sys.maxsize) if one.is_same(home.find(one.path)))
            while not site.stop.asked and (some := list(itertools.islice(there, _RECORDED))):
                holdings.arrive(some, level)
    except FileNotFoundError:  # nothing has arrived
        return
    except OSError as error:
        log.warning("%s: what has arrived is not recorded: %s", copy.epn, error)


def hold(holdings: Holdings, copy: Copy, found: Survey, level: Level | None) -> bool:
    """Store that the copy holds what was listed; whether that is what is known of it by now."""
    assert found.listing is not None  # we write
    if holdings.take(found.listing, (found.files, found.bytes), level):
        return True
    log.warning("%s: a walk has seen something else since; its files are not recorded", copy.epn)
    return False


def _not_run(reason: str, hint: str | None) -> EngineResult:
    return EngineResult(
        ok=False, exit_code=-1, files=None, bytes=None, reason=reason, hint=hint, stderr=""
    )


def _list_again(site: Site, copy: Copy, result: EngineResult) -> Survey | None:
    if not (result.ok or result.vanished):
        return None
    try:
        return site.survey(copy, look=site.means.verify != "none")
    except (ListingError, Stopped, OSError) as error:
        log.warning("%s: could not be listed again: %s", copy.epn, error)
        return None


def without_different(site: Site, copy: Copy, holdings: Holdings) -> Survey | None:
    """What there is to fetch once the files that differ are put aside; None: they stay for now."""
    try:
        return put_aside(site, copy, holdings)
    except (ListingError, Stopped, OSError) as error:
        log.warning("%s: what differs is not fetched again now: %s", copy.epn, error)
        return None


def _attempt(  # noqa: PLR0913, PLR0917 - all that it is made of
    site: Site,
    engine: Engine,
    started: datetime,
    result: EngineResult,
    after: Survey | None,
    judgement: Judgement,
) -> Attempt:
    return Attempt(
        started=started,
        ended=site.clock.now(),
        host=process.host(),
        pid=process.me()[0],
        engine=engine.name,
        chosen=engine.chosen,
        check=check_made(engine.check, site.means.verify, judgement),
        compare=engine.compare,
        verdict=judgement.verdict,
        exit_code=result.exit_code,
        files=result.files,
        bytes=result.bytes,
        listed_at=after.listed_at if after else None,
        listed_files=after.files if after else None,
        listed_bytes=after.bytes if after else None,
        reason=judgement.reason,
        stderr=result.stderr,
    )


def _tell_beginning(copy: Copy, listed: Survey, engine: Engine) -> None:
    log.info(
        "%s: begins: %s, %s, of which %s to fetch (%s), to %s",
        copy.epn, count(listed.files, "file"), size(listed.bytes),
        count(listed.missing_files, "file"), size(listed.missing_bytes), copy.destination,
    )  # fmt: skip
    log.info(
        "%s: by the %s engine (%s), check: %s",
        copy.epn, engine.name, engine.chosen, engine.check,
    )  # fmt: skip
    if listed.edited_files:
        log.info(
            "%s: %s changed at home; left alone", copy.epn,
            count(listed.edited_files, "file was", "files were"),
        )  # fmt: skip


def _tell(outcome: Outcome) -> None:
    moved = f"{count(outcome.files, 'file')}, {size(outcome.bytes)} in {duration(outcome.seconds)}"
    if outcome.complete:
        log.info("%s: complete; moved %s", outcome.copy.epn, moved)
    else:
        hint = f" ({outcome.hint})" if outcome.hint else ""
        log.warning("%s: stays due: %s%s", outcome.copy.epn, outcome.reason, hint)


@contextlib.contextmanager
def working_on(site: Site, copy: Copy, copy_id: int) -> Iterator[None]:
    """Keep the heartbeat of a claim going; at the end give it up, and take it off the board."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            try:
                site.catalogue.beat(copy_id)
            except AsynchyError as error:  # the next beat may pass; the claim holds ten minutes
                log.warning("no heartbeat: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        site.board.end(copy)
        site.catalogue.release(copy_id)
