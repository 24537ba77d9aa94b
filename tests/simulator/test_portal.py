"""The portal speaks its contract, and goes wrong on demand."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import trustme

from simulator.errors import SimulatorError
from simulator.portal.faults import Fault
from simulator.portal.handle import OMIT, PortalHandle
from tests.conftest import wait_until

NOW = datetime(2026, 11, 19, 1, 24, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def portal() -> Iterator[PortalHandle]:
    handle = PortalHandle()
    handle.start()
    yield handle
    handle.stop()


def ask(portal: PortalHandle, method: str, path: str, *, limit: float = 60, **sent: Any) -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(portal.url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=limit)
    try:
        connection.request(method, path, **sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def log_in(portal: PortalHandle, **changes: str) -> Answer:
    account = {**portal.accounts[0], **changes}
    pair = f"{account['client_name']}:{account['client_password']}"
    form = {
        "grant_type": account.get("grant_type", "password"),
        "username": account["username"],
        "password": account["password"],
    }
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return ask(portal, "POST", "/api/v1/oauth/token", body=urlencode(form), headers=headers)


def token_of(portal: PortalHandle) -> str:
    token: str = log_in(portal).json["data"]["access_token"]
    return token


def visits(
    portal: PortalHandle, token: str, equipment: int = 23, *, limit: float = 60, **times: Any
) -> Answer:
    query = {
        "access_token": token,
        "start_time": times.get("start", NOW - DAY),
        "end_time": times.get("end", NOW),
    }
    texts = {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in query.items()
    }
    path = f"/api/v1/equipment/{equipment}/visits?{urlencode(texts)}"
    return ask(portal, "GET", path, limit=limit)


def epns(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [visit["epn"] for visit in answer.json["data"]["visits"]]


def test_a_visit_has_all_that_the_contract_says(portal: PortalHandle) -> None:
    given = portal.add_visit(equipment=23, epn="12282a", start=NOW - 9 * HOUR, end=NOW - HOUR)
    (visit,) = visits(portal, token_of(portal)).json["data"]["visits"]
    assert visit == given
    assert set(visit) == {
        "id", "epn", "start_time", "end_time", "equipment_id",
        "principal_scientist", "data_scientists", "proposal",
    }  # fmt: skip
    assert visit["start_time"] == "2026-11-19T02:24:03+10:00"
    assert set(visit["principal_scientist"]) == {
        "id", "first_names", "last_name", "email", "organisation",
    }  # fmt: skip
    names = "".join(person["last_name"] for person in visit["data_scientists"])
    assert not names.isascii()


def test_overrides_replace_fields_or_leave_them_out(portal: PortalHandle) -> None:
    visit = portal.add_visit(
        equipment=23, epn=None, start=NOW, end=NOW, principal_scientist=None, proposal=OMIT
    )
    assert visit["principal_scientist"] is None and visit["epn"] is None
    assert "proposal" not in visit
    portal.add_raw_visit(23, "no visit at all")
    assert visits(portal, token_of(portal)).json["data"]["visits"] == [visit, "no visit at all"]
    portal.clear_visits()
    assert epns(visits(portal, token_of(portal))) == []


def test_each_equipment_has_visits_of_its_own(portal: PortalHandle) -> None:
    portal.add_visit(equipment=23, epn="12282a", start=NOW - HOUR, end=NOW)
    portal.add_visit(equipment=24, epn="8020l", start=NOW - HOUR, end=NOW)
    token = token_of(portal)
    assert [epns(visits(portal, token, number)) for number in (23, 24, 25)] == [
        ["12282a"], ["8020l"], [],
    ]  # fmt: skip


def test_filtering_by_overlap_or_by_start(portal: PortalHandle) -> None:
    portal.add_visit(equipment=23, epn="1a", start=NOW - 5 * DAY, end=NOW - 3 * DAY)
    portal.add_visit(equipment=23, epn="2a", start=NOW - 3 * DAY, end=NOW - HOUR)
    portal.add_visit(equipment=23, epn="3a", start=NOW - HOUR, end=NOW + DAY)
    token = token_of(portal)
    assert epns(visits(portal, token)) == ["2a", "3a"]
    portal.filter_by("start")
    assert epns(visits(portal, token)) == ["3a"]
    with pytest.raises(SimulatorError, match="cannot filter"):
        portal.filter_by("end")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-19T01:24:03",
        "yesterday",
        "",
        "2026-11-19",
        "2026-11-19T01:24:03 10:00",
        "2026-11-19 01:24:03+10:00",
    ],
)
def test_a_time_without_a_zone_or_that_is_none_is_refused(portal: PortalHandle, time: str) -> None:
    token = token_of(portal)
    assert visits(portal, token, start=time).status == 400
    assert visits(portal, token, end=time).status == 400


def test_a_plus_sign_that_was_not_quoted_is_refused(portal: PortalHandle) -> None:
    query = f"access_token={token_of(portal)}&start_time=2026-11-19T01:24:03+10:00"
    path = f"/api/v1/equipment/23/visits?{query}&end_time=2026-11-19T02:24:03Z"
    assert ask(portal, "GET", path).status == 400
    assert ask(portal, "GET", path.replace("+", "%2B")).status == 200


def test_more_than_31_days_at_once_are_refused_unless_allowed(portal: PortalHandle) -> None:
    token = token_of(portal)
    assert visits(portal, token, start=NOW - 31 * DAY).status == 200
    assert visits(portal, token, start=NOW - 31 * DAY - HOUR).status == 400
    portal.limit_windows(False)
    assert visits(portal, token, start=NOW - 300 * DAY).status == 200


@pytest.mark.parametrize(
    "wrong", ["username", "password", "client_name", "client_password", "grant_type"]
)
def test_wrong_credentials_are_refused(portal: PortalHandle, wrong: str) -> None:
    refused = log_in(portal, **{wrong: "wrong"})
    assert refused.status == 200
    assert refused.json == {"meta": {"error_message": "invalid credentials"}}
    portal.refuse_with(401)
    assert log_in(portal, **{wrong: "wrong"}).status == 401


def test_tokens_expire_on_demand_and_after_uses(portal: PortalHandle) -> None:
    token = token_of(portal)
    assert visits(portal, "never given out").status == 401
    assert visits(portal, token).status == 200
    portal.expire_tokens()
    assert visits(portal, token).status == 401
    token = token_of(portal)
    portal.expire_tokens_after(2)
    assert [visits(portal, token).status for _ in range(3)] == [200, 200, 401]
    token = token_of(portal)
    assert [visits(portal, token).status for _ in range(3)] == [200, 200, 401]
    token = token_of(portal)
    assert [visits(portal, token).status for _ in range(3)] == [200, 200, 200]


def test_a_new_log_in_ends_older_tokens_if_a_user_has_one_session(portal: PortalHandle) -> None:
    first, second = token_of(portal), token_of(portal)
    assert [visits(portal, token).status for token in (first, second)] == [200, 200]
    portal.one_session_per_user(True)
    third = token_of(portal)
    assert [visits(portal, token).status for token in (first, second, third)] == [401, 401, 200]
    assert log_in(portal, password="wrong").json["meta"]
    assert visits(portal, third).status == 200


@pytest.mark.parametrize("base", ["", "/api/v1"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/equipment/23", {"id": 23, "name": "MX"}),
        ("/equipment/23/proposals", {"proposals": []}),
        ("/proposalAllocations/7", {"id": 7}),
        ("/proposalAllocations/7/visits", {"visits": []}),
    ],
)
def test_what_else_is_there(
    portal: PortalHandle, base: str, path: str, expected: dict[str, Any]
) -> None:
    answer = ask(portal, "GET", f"{base}{path}?access_token={token_of(portal)}")
    assert answer.json == {"data": expected}
    assert ask(portal, "GET", f"{base}{path}").status == 401
    assert ask(portal, "GET", f"{base}{path}/x?access_token={token_of(portal)}").status == 404


def test_requests_are_recorded_before_they_are_answered(portal: PortalHandle) -> None:
    token = token_of(portal)
    visits(portal, token, 24)
    visits(portal, token, 24, start="naive")
    first, second, third = portal.requests()
    assert (first.method, first.path, first.status) == ("POST", "/api/v1/oauth/token", 200)
    assert (second.path, second.equipment) == ("/api/v1/equipment/24/visits", 24)
    assert second.query["access_token"] == token
    assert second.query["end_time"] == NOW.isoformat()
    assert third.status == 400
    assert first.at <= second.at <= third.at and first.at.tzinfo is not None
    portal.clear_requests()
    assert portal.requests() == []


def test_the_fault_answers_that_are_whole(portal: PortalHandle) -> None:
    token = token_of(portal)

    def faulty(name: str, **parameters: Any) -> Answer:
        portal.set_fault(name, path="visits", times=1, **parameters)
        answer = visits(portal, token)
        assert portal.requests()[-1].status == answer.status
        return answer

    page = faulty("html")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html")
    assert page.body.startswith(b"<!DOCTYPE html>")
    for name in ("malformed", "cut"):
        with pytest.raises(ValueError):
            faulty(name).json  # noqa: B018
    assert faulty("wrong_shape").json == {"data": []}
    assert faulty("status").status == 500
    limited = faulty("status", code=429, retry_after="Thu, 19 Nov 2026 01:24:03 GMT")
    assert limited.status == 429
    assert limited.headers["Retry-After"] == "Thu, 19 Nov 2026 01:24:03 GMT"
    assert faulty("status", code=503, retry_after=2).headers["Retry-After"] == "2"
    paged = faulty("paging").json
    assert paged["meta"]["next"] and paged["data"] == {"visits": []}
    moved = faulty("redirect")
    assert (moved.status, urlsplit(moved.headers["Location"]).hostname) == (
        302, "elsewhere.example",
    )  # fmt: skip
    assert faulty("redirect", location="/x").headers["Location"] == "/x"
    assert visits(portal, token).json == {"data": {"visits": []}}


def test_the_fault_answers_that_break_off(portal: PortalHandle) -> None:
    token = token_of(portal)
    portal.set_fault("truncated", times=1)
    with pytest.raises(http.client.IncompleteRead):
        visits(portal, token)
    portal.set_fault("reset", times=1)
    with pytest.raises(ConnectionResetError):
        visits(portal, token)
    assert portal.requests()[-1].status == -1


@pytest.mark.parametrize(("name", "least", "most"), [("drip", 2, 500), ("huge", 10**7, None)])
def test_the_fault_answers_without_end(
    portal: PortalHandle, name: str, least: int, most: int | None
) -> None:
    token = token_of(portal)
    portal.set_fault(name, path="visits")
    parts = urlsplit(portal.url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        times = f"start_time={NOW:%Y-%m-%dT%H:%M:%SZ}&end_time={NOW:%Y-%m-%dT%H:%M:%SZ}"
        path = f"/api/v1/equipment/23/visits?access_token={token}&{times}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: portal\r\n\r\n".encode())
        body = connection.makefile("rb")
        while body.readline().strip():
            pass
        assert len(body.read(least)) == least
        if most is not None:
            # What comes slowly ends when the fault is cleared.
            portal.clear_faults()
            assert len(body.read()) < most
        body.close()


def test_a_stalled_answer_comes_when_the_fault_is_cleared(portal: PortalHandle) -> None:
    token = token_of(portal)
    portal.set_fault("stall", equipment=23, seconds=60)
    with pytest.raises(TimeoutError):
        visits(portal, token, limit=0.3)
    got: list[Answer] = []
    asking = threading.Thread(target=lambda: got.append(visits(portal, token, limit=60)))
    asking.start()
    wait_until(lambda: len(portal.requests()) == 3)
    assert visits(portal, token, 24).status == 200
    portal.clear_faults()
    asking.join(timeout=60)
    assert [answer.status for answer in got] == [200]


def test_a_stalled_answer_comes_after_its_seconds(portal: PortalHandle) -> None:
    token = token_of(portal)
    portal.set_fault("stall", seconds=0.2)
    assert visits(portal, token).status == 200


def test_refused_credentials_as_a_fault(portal: PortalHandle) -> None:
    token = token_of(portal)
    portal.set_fault("refuse_credentials")
    refused = log_in(portal)
    assert (refused.status, "meta" in refused.json) == (200, True)
    assert visits(portal, token).status == 200
    portal.clear_faults()
    portal.refuse_with(401)
    portal.set_fault("refuse_credentials", times=1)
    assert log_in(portal).status == 401
    portal.set_fault("refuse_credentials", code=403, times=1)
    assert log_in(portal).status == 403
    assert log_in(portal).status == 200


def test_a_fault_concerns_the_requests_it_was_set_for(portal: PortalHandle) -> None:
    token = token_of(portal)
    portal.set_fault("status", path="token", code=502)
    portal.set_fault("status", equipment=24, code=503, times=2)
    assert log_in(portal).status == 502
    assert visits(portal, token, 23).status == 200
    assert [visits(portal, token, 24).status for _ in range(3)] == [503, 503, 200]
    portal.set_fault("status", equipment=24, code=500)
    portal.set_fault(None, equipment=24)
    assert visits(portal, token, 24).status == 200
    assert log_in(portal).status == 502
    portal.set_fault(None)
    assert log_in(portal).status == 200


def test_every_fault_can_be_set_and_no_other(portal: PortalHandle) -> None:
    for fault in Fault:
        portal.set_fault(fault)
    with pytest.raises(SimulatorError, match="nonsense"):
        portal.set_fault("nonsense")


def test_it_can_speak_https(place: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = place / "cert.pem", place / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    handle = PortalHandle((chain, key))
    handle.start()
    try:
        parts = urlsplit(handle.url)
        assert parts.scheme == "https" and parts.hostname is not None
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, context=trusting, timeout=60
        )
        connection.request("GET", "/api/v1/equipment/23/visits")
        assert connection.getresponse().status == 401
        connection.close()
    finally:
        handle.stop()
