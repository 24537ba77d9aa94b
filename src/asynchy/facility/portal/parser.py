"""Parses the portal's answers. No I/O, and no trust: each value is parsed, or named as unusable.

Source: `GET /api/v1/equipment/{id}/visits` and `POST /api/v1/oauth/token` as far as they are
publicly known (docs/portal.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asynchy.errors import PortalError, PortalRefused, PortalUnavailable
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped
from asynchy.model.person import Person, single_line
from asynchy.model.visit import UnreadableVisit, Visit

_PAGING = {
    "cursor", "has_more", "last_page", "limit", "links", "next", "next_page", "offset", "page",
    "page_count", "pages", "pagination", "paging", "per_page", "total", "total_count",
    "total_pages",
}  # fmt: skip
"""Keys by which an answer hints that it is not whole; paging is not documented."""
_MAX_DURATION = timedelta(days=366)
"""A visit takes hours or days. One that seems to have been running for decades must not have us
ask for decades of visits."""
_COUNTS = {"total", "total_count"}
_PAGES = {"last_page", "page_count", "pages", "total_pages"}


@dataclass(frozen=True)
class VisitsAnswer:
    """The visits of one answer, those that could not be read, and a hint of paging."""

    visits: tuple[Visit, ...]
    unreadable: tuple[UnreadableVisit, ...]
    paging: str | None = None


def parse_token(body: bytes) -> str:
    """The access token in the answer to a log-in.

    Raises:
        PortalRefused: the portal refused the credentials.
        PortalUnavailable: the answer is not JSON.
        PortalError: the answer is of another form.
    """
    answer = _json(body, "the log-in", quote=False)
    if isinstance(answer, dict):
        data = answer.get("data")
        token = data.get("access_token") if isinstance(data, dict) else None
        if isinstance(token, str) and token:
            return token
        meta = answer.get("meta")
        message = meta.get("error_message") if isinstance(meta, dict) else None
        if message is not None:
            raise PortalRefused(
                f"the portal refused the credentials: {escaped(str(message), limit=200)}",
                hint="check username, password, client_name and client_password in `equipment`",
            )
    raise PortalError("the portal's answer to the log-in has no access token")


def parse_visits(body: bytes) -> VisitsAnswer:
    """The visits in an answer.

    A visit that cannot be read is named and left out; an answer that cannot is an error, never
    "no visits".

    Raises:
        PortalUnavailable: the answer is not JSON (an HTML page, or cut off).
        PortalError: the answer is JSON of another form.
    """
    answer = _json(body, "the visits")
    data = answer.get("data") if isinstance(answer, dict) else None
    listed = data.get("visits") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise PortalError(
            f"the portal's answer has no list of visits{_error_message(answer)}",
            hint="a portal user that can see no EPN gets this answer",
        )
    read = [_visit(item) for item in listed]
    return VisitsAnswer(
        visits=tuple(item for item in read if isinstance(item, Visit)),
        unreadable=tuple(item for item in read if isinstance(item, UnreadableVisit)),
        paging=_paging(answer, len(listed)),
    )


def _json(body: bytes, request: str, *, quote: bool = True) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        # The answer to a log-in may hold a token, even if it is not JSON.
        start = f": {escaped(body[:60])}…" if quote else ""
        raise PortalUnavailable(f"the portal's answer to {request} is not JSON{start}") from None


def _error_message(answer: Any) -> str:
    meta = answer.get("meta") if isinstance(answer, dict) else None
    message = meta.get("error_message") if isinstance(meta, dict) else None
    return f": {escaped(str(message), limit=200)}" if message else ""


def _visit(item: Any) -> Visit | UnreadableVisit:
    if not isinstance(item, dict):
        return UnreadableVisit(None, f"not a visit: {_value_text(item)}")
    epn, identity = Epn.parse(item.get("epn")), _identity(item.get("id"))
    if epn is None:
        return UnreadableVisit(None, f"its EPN is none: {_value_text(item.get('epn'))}", identity)
    if identity is None:
        return UnreadableVisit(epn, f"its id is none: {_value_text(item.get('id'))}")
    times: list[datetime] = []
    for key in ("start_time", "end_time"):
        time = _time(item.get(key))
        if time is None:
            return UnreadableVisit(
                epn, f"its {key} is not a time with a zone: {_value_text(item.get(key))}", identity
            )
        times.append(time)
    if not timedelta(0) <= times[1] - times[0] <= _MAX_DURATION:
        backwards = times[1] < times[0]
        reason = "it ends before it starts" if backwards else "it lasts longer than a year"
        return UnreadableVisit(epn, reason, identity)
    proposal = item.get("proposal")
    title = proposal.get("title") if isinstance(proposal, dict) else None
    listed = item.get("data_scientists")
    scientists = map(_person, listed if isinstance(listed, list) else [])
    return Visit(
        identity,
        epn,
        times[0],
        times[1],
        title=single_line(title),
        principal=_person(item.get("principal_scientist")),
        scientists=tuple(person for person in scientists if person is not None),
    )


def _identity(value: Any) -> str | None:
    """The id of a visit, a number or a text; None if it has none."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip() or None


def _person(item: Any) -> Person | None:
    if not isinstance(item, dict):
        return None
    organisation = item.get("organisation")
    names = organisation if isinstance(organisation, dict) else {}
    person = Person.of(
        first_names=item.get("first_names"),
        last_name=item.get("last_name"),
        email=item.get("email"),
        organisation=names.get("name_long") or names.get("name_short"),
    )
    return person if person.known else None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time if time.utcoffset() is not None and time.timestamp() is not None else None
    except (ValueError, OverflowError):
        return None


def _value_text(value: Any) -> str:
    if value is None:
        return "missing"
    return escaped(value if isinstance(value, str) else repr(value), limit=60) or "empty"


def _paging(answer: dict[str, Any], count: int) -> str | None:
    """The hint of paging in an answer, as `key: value`; None if there is none."""
    meta = answer.get("meta")
    for around in (answer, answer["data"], meta if isinstance(meta, dict) else {}):
        for key in sorted(_PAGING & around.keys()):
            value = around[key]
            all_there = (key in _COUNTS and value == count) or (key in _PAGES and value == 1)
            if value not in (None, "", [], {}, False) and not all_there:
                return f"{key}: {_value_text(value)}"
    return None
