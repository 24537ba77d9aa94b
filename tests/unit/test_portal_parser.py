from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.errors import PortalError, PortalRefused, PortalUnavailable
from asynchy.facility.portal.client import WINDOW, windows
from asynchy.facility.portal.parser import VisitsAnswer, parse_token, parse_visits
from asynchy.model.epn import Epn
from asynchy.model.person import Person

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
        ({"start_time": None}, Epn("12282a"), "its start_time is not a time with a zone: missing"),
        (
            {"end_time": "2016-04-29T16:00:00"},
            Epn("12282a"),
            "its end_time is not a time with a zone",
        ),
        ({"end_time": "tomorrow"}, Epn("12282a"), "its end_time is not a time with a zone"),
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


WHOLE = {
    **GOOD,
    "principal_scientist": {
        "id": 4, "first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example",
        "organisation": {"id": 1, "name_short": "U", "name_long": "University"},
    },
    "data_scientists": [{"first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example"}],
    "proposal": {"title": "Crystals \u2014 a study", "type": {"id": 1}},
    "something_new": [1, {"a": None}],
}  # fmt: skip


@pytest.mark.parametrize(
    "left_out", ["equipment_id", "principal_scientist", "data_scientists", "proposal", "x"]
)
@pytest.mark.parametrize("value", [None, 7, "", [None, 7, {}], {"organisation": 7, "title": []}])
def test_what_a_visit_says_of_people_can_be_anything(left_out: str, value: Any) -> None:
    (whole,) = parse_visits(answer(WHOLE)).visits
    visit = {key: item for key, item in WHOLE.items() if key != left_out}
    for odd in (visit, {**visit, left_out: value}):
        found = parse_visits(answer(odd))
        assert found.unreadable == ()
        (read,) = found.visits
        assert (read.id, read.epn, read.start, read.end) == (
            whole.id, whole.epn, whole.start, whole.end,
        )  # fmt: skip
        if left_out not in ("equipment_id", "x"):
            assert read != whole


def test_who_and_what_a_visit_was() -> None:
    (visit,) = parse_visits(answer(WHOLE)).visits
    assert visit.title == "Crystals — a study"
    assert visit.principal == Person("Ada", "Lovelace", "ada@uni.example", "University")
    assert visit.scientists == (Person("Ada", "Lovelace", "ada@uni.example"),)


@pytest.mark.parametrize("key", ["id", "epn", "start_time", "end_time"])
@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, [1], {"a": "b"}])
def test_what_is_needed_of_a_visit_must_be_right(key: str, value: Any) -> None:
    found = parse_visits(answer({**GOOD, key: value}))
    assert found.visits == ()
    assert found.unreadable[0].epn == (None if key == "epn" else Epn("12282a"))
    missing = parse_visits(answer({k: v for k, v in GOOD.items() if k != key}))
    assert missing.unreadable[0].reason.endswith("missing")


@pytest.mark.parametrize("item", [None, 1, "12282a", [GOOD], True, 1.5, "\ud800", "\x1b[31m"])
def test_what_is_no_visit_at_all_is_named(item: Any) -> None:
    (found,) = parse_visits(answer(item)).unreadable
    assert found.epn is None
    assert found.reason.startswith("not a visit: ") and found.reason.isprintable()


@pytest.mark.parametrize(
    "epn",
    [-1, 10**12, 1234.5, True, "12282A/..", "12 282a", "\uff11\uff12a", "9" * 10_240, "\0"],
)
def test_a_strange_epn_is_named_shortly_and_printably(epn: Any) -> None:
    (found,) = parse_visits(answer({**GOOD, "epn": epn})).unreadable
    assert found.epn is None
    assert found.reason.isprintable() and len(found.reason) < 100


@pytest.mark.parametrize(
    ("epn", "text"), [(1234, "1234"), ("12282A", "12282a"), (" 12282a\n", "12282a")]
)
def test_an_epn_is_read_as_a_number_and_in_any_case_and_blanks(epn: Any, text: str) -> None:
    (visit,) = parse_visits(answer({**GOOD, "epn": epn})).visits
    assert visit.epn.text == text


def test_an_id_is_a_number_or_a_text_without_blanks_around_it() -> None:
    found = parse_visits(answer({**GOOD, "id": 7}, {**GOOD, "id": " 7 "}, {**GOOD, "id": ""}))
    assert [visit.id for visit in found.visits] == ["7", "7"]
    assert [str(item) for item in found.unreadable] == ["a visit of 12282a: its id is none: empty"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({**GOOD, "epn": None}, "visit 7: its EPN is none: missing"),
        ({**GOOD, "end_time": "x"}, "visit 7 (12282a): its end_time is not a time with a zone: x"),
        ({**GOOD, "id": "\x1b[31m", "epn": 1.5}, "visit \\x1b[31m: its EPN is none: 1.5"),
        (["12282a"], "an entry of the answer: not a visit: ['12282a']"),
    ],
)
def test_an_unreadable_visit_is_named_by_what_is_known_of_it(item: Any, words: str) -> None:
    (found,) = parse_visits(answer(item)).unreadable
    assert str(found) == words


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-04-29T08:00:00+10:00", datetime(2016, 4, 28, 22, tzinfo=UTC)),
        ("2016-04-28T22:00:00Z", datetime(2016, 4, 28, 22, tzinfo=UTC)),
        ("2016-04-28T22:00:00.5+00:00", datetime(2016, 4, 28, 22, microsecond=500_000, tzinfo=UTC)),
        ("2016-04-28T17:30:00-0430", datetime(2016, 4, 28, 22, tzinfo=UTC)),
        ("2016-04-29 08:00:00+10:00", datetime(2016, 4, 28, 22, tzinfo=UTC)),
    ],
)
def test_times_with_a_zone(text: str, moment: datetime) -> None:
    (visit,) = parse_visits(answer({**GOOD, "start_time": text})).visits
    assert visit.start == moment


@pytest.mark.parametrize("depth", [10, 300, 900, 950, 990, 1000, 5000])
@pytest.mark.parametrize(
    "form", ['{"data": {"visits": [%s]}}', '{"data": {"visits": [{"epn": "1a", "id": %s}]}}', '{"meta": {"error_message": %s}}',
             '{"data": {"visits": []}, "next": %s}', "%s"],
)  # fmt: skip
def test_depth_is_an_answer_or_an_error(depth: int, form: str) -> None:
    body = (form % ("[" * depth + "]" * depth)).encode()
    for parse in (parse_visits, parse_token):
        try:
            found = parse(body)
        except PortalError as error:
            assert len(error.message) < 400
        else:
            assert isinstance(found, VisitsAnswer) and (found.unreadable or found.paging)


TOKEN = "tok3n-canary"  # not a real one


@pytest.mark.parametrize(
    "body",
    [
        f'{{"data": {{"access_token": "{TOKEN}',
        f'{{"data": {{"access_token": "{TOKEN}"}}',
        f'{{"access_token": "{TOKEN}"}}',
        f'{{"data": ["{TOKEN}"]}}',
        f'{{"data": {{"access_token": ["{TOKEN}"]}}}}',
        f'"{TOKEN}"',
        f"access_token={TOKEN}",
    ],
)
def test_a_token_in_an_answer_that_cannot_be_used_is_not_told(body: str) -> None:
    with pytest.raises(PortalError) as caught:
        parse_token(body.encode())
    assert TOKEN not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"\xff", b"{"])
def test_a_log_in_that_is_not_json_may_pass(body: bytes) -> None:
    with pytest.raises(PortalUnavailable):
        parse_token(body)


@settings(max_examples=40)
@given(json_values)
def test_any_json_is_a_token_or_an_error(value: Any) -> None:
    for answer_ in (value, {"data": value}, {"data": {"access_token": value}}, {"meta": value}):
        try:
            token = parse_token(json.dumps(answer_).encode())
        except PortalError:
            continue
        assert isinstance(token, str) and token


@settings(max_examples=40)
@given(json_values, st.sampled_from(["meta", "next", "total", "pages", "page", "links", "data"]))
def test_whatever_stands_beside_the_visits_no_visit_is_lost(value: Any, key: str) -> None:
    around = {"data": {"visits": [GOOD]}}
    body = json.dumps({key: value, **around}).encode()
    found = parse_visits(body)
    assert len(found.visits) == 1
    assert found.paging is None or found.paging.isprintable()
    assert parse_visits(json.dumps({"data": {key: value, **around["data"]}}).encode()).visits == (
        found.visits
    )


@pytest.mark.parametrize("place", ["top", "data", "meta"])
@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("next", "https://p/2", "next: https://p/2"), ("next", None, None), ("next", "", None),
        ("has_more", True, "has_more: True"), ("has_more", False, None),
        ("total", 1, None), ("total", 2, "total: 2"), ("total_count", 500, "total_count: 500"),
        ("pages", 1, None), ("pages", 7, "pages: 7"), ("links", [], None), ("links", {}, None),
        ("pagination", {"next": 2}, "pagination: {'next': 2}"), ("equipment", 23, None),
    ],
)  # fmt: skip
def test_hints_of_paging_wherever_they_stand(
    place: str, key: str, value: Any, hint: str | None
) -> None:
    whole: dict[str, Any] = {"data": {"visits": [GOOD]}, "meta": {}}
    (whole if place == "top" else whole[place])[key] = value
    assert parse_visits(json.dumps(whole).encode()).paging == hint


@pytest.mark.parametrize(
    ("days", "count"), [(0, 1), (1, 1), (31, 1), (31.01, 2), (62, 2), (93.5, 4)]
)
def test_there_are_no_more_windows_than_needed(days: float, count: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert len(list(windows(start, start + timedelta(days=days)))) == count
