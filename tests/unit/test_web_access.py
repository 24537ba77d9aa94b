"""Sessions, keys of forms, and limits on log-ins of the dashboard."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.errors import TokenRefused, WebKeyRefused
from asynchy.model.access import Action, OperatorAction, Role, WebToken
from asynchy.web.access import LoginLimit, RequestLimit, Sessions, Viewer, new_token, session_key
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=90)


def test_a_session_counts_until_it_ends() -> None:
    sessions = Sessions(b"k" * 32)
    cookie = sessions.begin("jane", NOW, LATER)
    assert sessions.token_of(cookie, NOW + timedelta(hours=11)) == "jane"
    assert sessions.token_of(cookie, NOW + timedelta(hours=12)) is None


def test_a_session_ends_with_its_token() -> None:
    sessions = Sessions(b"k" * 32)
    cookie = sessions.begin("jane", NOW, NOW + timedelta(hours=1))
    assert sessions.token_of(cookie, NOW + timedelta(hours=1)) is None


def test_a_session_of_another_key_does_not_count() -> None:
    cookie = Sessions(b"k" * 32).begin("jane", NOW, LATER)
    assert Sessions(b"l" * 32).token_of(cookie, NOW) is None


@pytest.mark.parametrize("cookie", ["", ".", "a", "a.b", "..", "\udcff.x", "é." + "0" * 64])
def test_nonsense_is_no_session(cookie: str) -> None:
    assert Sessions(b"k" * 32).token_of(cookie, NOW) is None


def test_a_key_of_a_form_is_not_that_of_a_session() -> None:
    sessions = Sessions(b"k" * 32)
    cookie = sessions.begin("jane", NOW, LATER)
    body, _, signature = cookie.partition(".")
    assert sessions.form_key(body) != signature
    viewer = Viewer("jane", Role.READER, "::1", sessions.form_key("a"), has_session=True)
    assert sessions.is_form_key(viewer, sessions.form_key("a"))
    assert not sessions.is_form_key(viewer, sessions.form_key("b"))
    assert not sessions.is_form_key(viewer, "é")


def test_a_viewer_who_asks_too_often_waits_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    limit = RequestLimit()
    assert [limit.seconds_left("jane") for _ in range(301)] == [0] * 300 + [1]
    assert limit.seconds_left("lea") == 0
    clock[0] += 1.0
    assert [limit.seconds_left("jane") for _ in range(21)] == [0] * 20 + [1]
    clock[0] += 3600
    assert [limit.seconds_left("jane") for _ in range(301)] == [0] * 300 + [1]


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = session_key(path)
    assert len(key) == 32 and session_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(b"k" * 32, 0o640, "other users may read"), (b"k" * 31, 0o600, "damaged"),
     (b"k" * 33, 0o600, "damaged")],
)  # fmt: skip
def test_a_key_that_cannot_be_trusted_is_refused(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(WebKeyRefused, match=said):
        session_key(path)


def test_a_link_in_the_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"k" * 32)
    (tmp_path / "key").symlink_to("real")
    with pytest.raises(WebKeyRefused, match="cannot be used"):
        session_key(tmp_path / "key")


def test_failed_log_ins_of_one_address_stop_that_address_alone() -> None:
    limit = LoginLimit()
    for _ in range(10):
        assert limit.seconds_left("a") == 0
        limit.failed("a")
    assert 0 < limit.seconds_left("a") <= 61
    assert limit.seconds_left("b") == 0


def test_failed_log_ins_of_many_addresses_stop_everybody() -> None:
    limit = LoginLimit()
    for number in range(100):
        limit.failed(str(number))
    assert limit.seconds_left("another") > 0


def test_an_address_may_try_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = LoginLimit()
    for _ in range(10):
        limit.failed("a")
    passed = [0.0]
    begin = time.monotonic()
    monkeypatch.setattr("asynchy.web.access.time.monotonic", lambda: begin + passed[0])
    passed[0] = 61.0
    assert limit.seconds_left("a") == 0


def test_the_catalogue_knows_a_token_by_its_digest_until_it_ends(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db")
    access, token = catalogue.web_access, new_token()
    access.add(token, WebToken("jane", Role.OPERATOR, NOW, LATER, None))
    assert access.owner_of(new_token(), NOW) is None
    owner = access.owner_of(token, NOW)
    assert owner is not None and (owner.name, owner.role) == ("jane", Role.OPERATOR)
    assert access.owner_of(token, LATER) is None
    access.revoke("jane", NOW)
    assert access.owner_of(token, NOW) is None and access.named("jane", NOW) is None
    assert [one.state(NOW) for one in access.tokens()] == ["revoked"]
    assert token.encode() not in (tmp_path / "catalogue.db").read_bytes()


def test_a_name_of_a_token_is_used_once_even_after_it_was_revoked(tmp_path: Path) -> None:
    access = new_catalogue(tmp_path / "catalogue.db").web_access
    access.add(new_token(), WebToken("jane", Role.READER, NOW, LATER, None))
    access.revoke("jane", NOW)
    with pytest.raises(TokenRefused, match="there is a token named jane already"):
        access.add(new_token(), WebToken("jane", Role.OPERATOR, NOW, LATER, None))
    with pytest.raises(TokenRefused, match="there is no token named ada"):
        access.revoke("ada", NOW)


def test_the_audit_trail_is_read_the_latest_first(tmp_path: Path) -> None:
    access = new_catalogue(tmp_path / "catalogue.db").web_access
    for action, subject in ((Action.PAUSE, ""), (Action.MAP, "1a")):
        access.record(OperatorAction(NOW, "jane", "::1", action, subject, "", "done"))
    assert [one.action for one in access.actions(10)] == [Action.MAP, Action.PAUSE]
    assert [one.action for one in access.actions(10, "1a")] == [Action.MAP]
    assert len(access.actions(1)) == 1
