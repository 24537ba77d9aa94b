"""The portal's API: log in, ask for visits in windows, try again where that can help."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import tenacity

from asynchy.errors import PortalError, PortalRefused, PortalUnavailable, Stopped
from asynchy.facility.portal.http_client import Answer, Http
from asynchy.facility.portal.parser import VisitsAnswer, parse_token, parse_visits
from asynchy.model.backoff import Backoff
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count, escaped
from asynchy.model.redaction import masked
from asynchy.model.visit import Booking, UnreadableVisit, Visit

log = logging.getLogger(__name__)

WINDOW = timedelta(days=31)
"""The longest time asked for at once; paging is not documented, so questions are kept small."""
_MAX_TRIES = 4
_LOG_IN_PATH = "/api/v1/oauth/token"
_BACKOFF = Backoff(first=0.5, longest=60.0, spread=0.5)
"""Random, so that two programs that end each other's sessions do not do so in step."""
_READ_TIMEOUT = 30.0  # seconds

_T = TypeVar("_T")


@dataclass(frozen=True)
class Credentials:
    """The login: a portal user through a registered client."""

    username: str
    password: str = field(repr=False)
    client_name: str
    client_password: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Its secret parts, in every form in which they are sent."""
        basic = f"{self.client_name}:{self.client_password}"
        return self.password, self.client_password, basic


class Portal:
    """The portal at one base URL; safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        stop: Stop,
        ca_bundle: Path | None = None,
        timeout: float = _READ_TIMEOUT,
    ) -> None:
        self._http = Http(base_url, ca_bundle=ca_bundle, timeout=min(timeout, _READ_TIMEOUT))
        self._stop = stop
        self._tokens: dict[Credentials, str] = {}
        self._lock = threading.Lock()
        self._logged: set[tuple[int, str]] = set()
        """The tries that failed, by their number and cause, and were logged."""
        self.clock_offset: float | None = None
        """Seconds by which the portal's clock was ahead of ours at its latest answer."""

    def visits(
        self, credentials: Credentials, equipment: int, start: datetime, end: datetime
    ) -> VisitsAnswer:
        """The visits of a piece of equipment between two zone-aware times; repeats are merged.

        Two visits with one id that differ in EPN or time are both in it. Whether the portal filters
        by overlap or by start is not documented: more may come than was asked for.

        Raises:
            PortalUnavailable: no usable answer came, after several tries.
            PortalRefused: the credentials were refused.
            PortalError: the answer cannot be used.
            Stopped: a stop was requested meanwhile.
        """
        visits: dict[Booking, Visit] = {}
        unreadable: dict[UnreadableVisit, None] = {}
        paging: str | None = None
        for since, until in windows(start, end):
            answer = self._retry(lambda: self._window(credentials, equipment, since, until))  # noqa: B023 - called at once
            visits |= {visit.booking: visit for visit in answer.visits}
            unreadable |= dict.fromkeys(answer.unreadable)
            paging = paging or answer.paging
        log.debug("portal: equipment %d: %s", equipment, count(len(visits), "visit"))
        return VisitsAnswer(tuple(visits.values()), tuple(unreadable), paging)

    def check_clock(self) -> float | None:
        """Seconds by which the portal's clock is ahead of ours; None: it does not send its time.

        It does not log in: that would end the session of another program with the same user.

        Raises:
            PortalUnavailable: no answer came.
            PortalError: it cannot be asked.
            Stopped: a stop was requested meanwhile.
        """
        self._request("GET", _LOG_IN_PATH)  # refused, with the time
        return self.clock_offset

    def has_visits(
        self, credentials: Credentials, equipment: int, start: datetime, end: datetime
    ) -> bool:
        """Whether a piece of equipment has any visit between two zone-aware times.

        An equipment id that does not exist is answered as one without visits. The latest time is
        asked about first; for equipment that is in use, one request is enough. Raises as `visits`.
        """
        for since, until in reversed(list(windows(start, end))):
            answer = self._retry(lambda: self._window(credentials, equipment, since, until))  # noqa: B023 - called at once
            if answer.visits or answer.unreadable:
                return True
        return False

    def _window(
        self, credentials: Credentials, equipment: int, start: datetime, end: datetime
    ) -> VisitsAnswer:
        log.debug("portal: equipment %d: visits from %s to %s", equipment, start, end)
        with self._naming(_visits_path(equipment)):
            return self._visits_of(credentials, equipment, start, end)

    @contextlib.contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """Adds the address to errors of the portal."""
        try:
            yield
        except PortalError as error:
            error.name_place(self._http.url(path))
            raise

    def _visits_of(
        self, credentials: Credentials, equipment: int, start: datetime, end: datetime
    ) -> VisitsAnswer:
        cached_token = self._tokens.get(credentials)
        token = self._token(credentials)
        answer = self._ask_visits(token, equipment, start, end)
        if answer.status == 401 and token == cached_token:  # expired: again with a new one
            token = self._token(credentials, not_=token)
            answer = self._ask_visits(token, equipment, start, end)
        if answer.status == 401:
            raise PortalUnavailable(  # asked again after a random wait, when the other may be done
                "the portal refuses the token that it has just given: another program seems to"
                f" log in as {escaped(credentials.username)}, which ends our session",
                hint="give each program a portal user or client of its own; if there is no other"
                " program, ask the facility whether this user may see this equipment",
            )
        answer = _masked(answer, [token])  # such as in the address of a next page
        _check(answer)
        return parse_visits(answer.body)

    def _ask_visits(self, token: str, equipment: int, start: datetime, end: datetime) -> Answer:
        return self._request(
            "GET",
            _visits_path(equipment),
            query={
                "access_token": token,
                "start_time": start.isoformat(timespec="seconds"),
                "end_time": end.isoformat(timespec="seconds"),
            },
        )

    def _request(self, method: str, path: str, query: dict[str, str] | None = None) -> Answer:
        """Request a path, and compare the clocks."""
        asked_at = datetime.now(UTC)
        answer = self._http.request(method, path, query=query)
        if answer.date is not None:
            # It was written at some moment in between; a slow answer does not mean a wrong clock.
            closest = min(max(answer.date, asked_at), datetime.now(UTC))
            self.clock_offset = (answer.date - closest).total_seconds()
        return answer

    def _token(self, credentials: Credentials, *, not_: str | None = None) -> str:
        """A token, the one at hand unless it is the one that has expired."""
        with self._lock:
            token = self._tokens.get(credentials)
            if token is None or token == not_:
                with self._naming(_LOG_IN_PATH):
                    token = self._log_in(credentials)
                self._tokens[credentials] = token
            return token

    def _log_in(self, credentials: Credentials) -> str:
        log.debug("portal: logging in as %s", escaped(credentials.username))
        answer = self._http.request(
            "POST",
            _LOG_IN_PATH,
            form={
                "grant_type": "password",
                "username": credentials.username,
                "password": credentials.password,
            },
            basic=(credentials.client_name, credentials.client_password),
        )
        safe_answer = _masked(answer, credentials.secrets)
        if answer.status in (400, 401, 403):
            try:
                parse_token(safe_answer.body)
            except PortalRefused:
                raise
            except PortalError:
                pass
            raise PortalRefused(
                f"the portal refused the credentials (HTTP {answer.status})",
                hint="check username, password, client_name and client_password in `equipment`",
            )
        _check(safe_answer)
        try:
            return parse_token(answer.body)
        except PortalError:
            parse_token(safe_answer.body)  # raises the same, without a secret in it
            raise PortalError("the portal's answer to the log-in makes no sense") from None

    def _retry(self, ask: Callable[[], _T]) -> _T:
        """Ask, and ask again with back-off and jitter while that can help."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=lambda state: self._stop.requested or state.attempt_number >= _MAX_TRIES,
            wait=_wait,
            sleep=self._sleep,
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            answer = retrying(ask)
        except PortalUnavailable:
            if self._stop.requested:
                raise Stopped("stopped while asking the portal") from None
            raise
        with self._lock:
            self._logged.clear()
        return answer

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        """Log that a request is repeated; the same fault of other requests is not logged again."""
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        fault = state.attempt_number, error.cause if isinstance(error, PortalError) else ""
        with self._lock:
            level = logging.DEBUG if fault in self._logged else logging.WARNING
            self._logged.add(fault)
        log.log(level, "%s; trying again in %.1f s", error, wait)

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)


def windows(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time from start to end in parts of at most `WINDOW`."""
    while True:
        until = min(start + WINDOW, end)
        yield start, until
        if until >= end:
            return
        start = until


def _visits_path(equipment: int) -> str:
    return f"/api/v1/equipment/{equipment}/visits"


def _masked(answer: Answer, secrets: Iterable[str]) -> Answer:
    """An answer that quotes none of the secrets it was asked with."""
    body = masked(answer.body.decode("utf-8", "surrogateescape"), secrets)
    location = answer.location and masked(answer.location, secrets)
    return replace(answer, body=body.encode("utf-8", "surrogateescape"), location=location)


def _check(answer: Answer) -> None:
    status = answer.status
    if status == 200:
        return
    if status == 429 or status >= 500:
        raise PortalUnavailable(f"the portal answers HTTP {status}", retry_after=answer.retry_after)
    if 300 <= status < 400:
        elsewhere = (answer.location or "nowhere").split("?")[0]
        elsewhere = re.sub("//[^/]*@", "//", elsewhere)  # a user and password
        raise PortalError(
            f"the portal redirects to {escaped(elsewhere, limit=100)}",
            hint="set `base-url` to the portal's own address; secrets are not sent on",
        )
    raise PortalError(f"the portal answers HTTP {status}")


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, PortalUnavailable):
        return False
    return error.retry_after is None or error.retry_after <= _BACKOFF.longest


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, PortalUnavailable) and error.retry_after is not None:
        return error.retry_after
    return _BACKOFF.seconds(state.attempt_number)
