from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.epn import Epn
from asynchy.errors import PortalError, PortalRefused, PortalUnavailable
from asynchy.facility.portal.answers import VisitsAnswer, parse_token, parse_visits
from asynchy.facility.portal.client import WINDOW, windows

GOOD = {
    "id": 7,
    "epn": "12282a",
    "start_time": "2016-04-29T08:00:00+10:00",
    "end_time": "2016-04-29T16:00:00+10:00",
    "equipment_id": 23,
    "principal_scientist": None,
}


def answer(*visits: Any, **around: Any) -> bytes:
    return json.dumps({"data": {"visits": list(visits)}, **around}).encode()


def test_a_visit_is_read_with_its_zone() -> None:
    (visit,) = parse_visits(answer(GOOD)).visits
    assert visit.epn == Epn("12282a")
    assert visit.start == datetime(2016, 4, 28, 22, tzinfo=UTC)
    assert visit.end - visit.start == timedelta(hours=8)


@pytest.mark.parametrize(
    ("change", "epn", "reason"),
    [
        ({"epn": "../../etc"}, None, "its EPN is none: ../../etc"),
        ({"epn": ""}, None, "its EPN is none: empty"),
        ({"epn": None}, None, "its EPN is none: missing"),
        ({"epn": "9" * 10_000}, None, "its EPN is none: 999"),
        ({"epn": {"a": 1}}, None, "its EPN is none: {'a': 1}"),
        ({"id": None}, Epn("12282a"), "its id is none"),
        ({"start_time": None}, Epn("12282a"), "its start_time is no time with a zone: missing"),
        ({"end_time": "2016-04-29T16:00:00"}, Epn("12282a"), "its end_time is no time with a zone"),
        ({"end_time": "tomorrow"}, Epn("12282a"), "its end_time is no time with a zone"),
        ({"end_time": "2015-01-01T00:00:00Z"}, Epn("12282a"), "it ends before it starts"),
    ],
)
def test_a_visit_that_cannot_be_read_is_named_beside_the_others(
    change: dict[str, Any], epn: Epn | None, reason: str
) -> None:
    found = parse_visits(answer({**GOOD, **change}, GOOD))
    assert len(found.visits) == 1
    (left,) = found.unreadable
    assert left.epn == epn
    assert left.reason.startswith(reason)
    assert len(left.reason) < 200


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"data": {"visits": [', b"\xff\xfe", b"[" * 100_000],
)
def test_what_is_not_json_may_pass(body: bytes) -> None:
    with pytest.raises(PortalUnavailable, match="not JSON"):
        parse_visits(body)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'{"data": []}', b'{"data": {"visits": {}}}', b"{}"]
)
def test_json_without_visits_is_an_error_and_never_no_visits(body: bytes) -> None:
    with pytest.raises(PortalError, match="no list of visits"):
        parse_visits(body)


def test_what_the_portal_says_of_an_error_is_told() -> None:
    with pytest.raises(PortalError, match="no list of visits: not allowed"):
        parse_visits(b'{"meta": {"error_message": "not allowed"}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*GOOD, "data", "visits", "meta", "next", "error_message"]) | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(json_values)
def test_any_json_is_an_answer_or_an_error(value: Any) -> None:
    try:
        found = parse_visits(json.dumps(value).encode())
    except PortalError:
        return
    assert isinstance(found, VisitsAnswer)
    assert len(found.visits) + len(found.unreadable) == len(value["data"]["visits"])


@given(st.lists(json_values))
def test_no_visit_is_lost(visits: list[Any]) -> None:
    found = parse_visits(answer(*visits))
    assert len(found.visits) + len(found.unreadable) == len(visits)


@given(st.binary())
def test_any_bytes_are_an_answer_or_an_error(body: bytes) -> None:
    for parse in (parse_visits, parse_token):
        try:
            parse(body)
        except PortalError:
            continue


@pytest.mark.parametrize(
    ("around", "hint"),
    [
        ({"meta": {"next": "/2"}}, "next: /2"),
        ({"links": ["x"]}, "links: ['x']"),
        ({"meta": {"total": 2}}, "total: 2"),
        ({"meta": {"total_pages": 3}}, "total_pages: 3"),
        ({"meta": {"total": 1, "next": None, "total_pages": 1}}, None),
        ({"meta": {"status": "ok"}}, None),
        ({"meta": None}, None),
    ],
)
def test_hints_of_paging(around: dict[str, Any], hint: str | None) -> None:
    assert parse_visits(answer(GOOD, **around)).paging == hint


def test_a_token() -> None:
    assert parse_token(b'{"data": {"access_token": "abc"}}') == "abc"
    with pytest.raises(PortalRefused, match="no such user"):
        parse_token(b'{"meta": {"error_message": "no such user"}}')
    with pytest.raises(PortalError, match="no access token"):
        parse_token(b'{"data": {"access_token": ""}}')


@given(
    st.datetimes(
        timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)
    ),
    st.timedeltas(timedelta(0), timedelta(days=3660)),
)
def test_windows_cover_the_time_exactly(start: datetime, length: timedelta) -> None:
    found = list(windows(start, start + length))
    assert found[0][0] == start
    assert found[-1][1] == start + length
    assert all(until - since <= WINDOW for since, until in found)
    assert all(one[1] == two[0] for one, two in pairwise(found))
