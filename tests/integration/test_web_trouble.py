"""The dashboard while the catalogue is locked, and after a session has ended."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import NamedTuple

import pytest

from asynchy.web.access import Sessions, now_utc, session_key
from simulator.scratch import new_folder, remove
from tests.conftest import Program, give, wait_until
from tests.tools.dashboard import Browser, MadeHome

PAGES = ("/", "/experiments", "/experiments/mx/1a", "/experiments/mx/1a/files", "/history",
         "/facility", "/health", "/api/v1/status", "/metrics")  # fmt: skip


class Site(NamedTuple):
    home: MadeHome
    browser: Browser
    token: str

    def new(self) -> Browser:
        return Browser(self.browser.address)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    home.bring("1a")
    home.experiment("3a")
    token = home.token("jane", "operator")
    with home.serving() as browser:
        yield Site(home, browser.log_in(token), token)
    remove(folder)


@contextmanager
def writing(home: MadeHome) -> Iterator[sqlite3.Connection]:
    """A program is in the middle of a transaction, and holds the lock of the writer."""
    with closing(sqlite3.connect(home.catalogue_path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO state VALUES ('of a writer', '1')")
        yield db
        if db.in_transaction:
            db.execute("ROLLBACK")


def test_pages_and_logins_do_not_wait_for_a_writer(site: Site) -> None:
    with writing(site.home):
        browser = site.new().log_in(site.token)
        assert [browser.get(path).status for path in PAGES] == [200] * len(PAGES)


def test_an_action_waits_for_a_writer_and_is_done_then(site: Site) -> None:
    with writing(site.home) as db:
        answers: list[int] = []

        def act() -> None:
            answers.append(site.browser.act("pause", reason="waited").status)

        asked = threading.Thread(target=act)
        asked.start()
        asked.join(1.0)
        assert asked.is_alive() and "waited" not in site.browser.text("/")
        db.execute("COMMIT")
        asked.join(60)
    assert answers == [303]
    assert "waited" in site.browser.text("/")
    assert site.browser.act("resume").status == 303


def test_no_writer_waits_for_viewers(site: Site) -> None:
    ended = threading.Event()
    seen: list[int] = []

    def look() -> None:
        browser = site.new().log_in(site.token)
        while not ended.is_set():
            seen.append(browser.get("/experiments/mx/1a/files").status)

    viewers = [threading.Thread(target=look) for _ in range(4)]
    for viewer in viewers:
        viewer.start()
    try:
        wait_until(lambda: len(seen) > 8)
        with closing(sqlite3.connect(site.home.catalogue_path, timeout=0)) as db:
            for number in range(50):  # raises OperationalError where the lock is not to be had
                with db:
                    db.execute("INSERT OR REPLACE INTO state VALUES ('n', ?)", (str(number),))
    finally:
        ended.set()
        for viewer in viewers:
            viewer.join()
    assert set(seen) == {200}


def test_a_session_that_has_ended_does_nothing_and_leads_back_after_a_login(site: Site) -> None:
    sessions = Sessions(session_key(site.home.place / "catalogue.db.web-key"))
    browser, now = site.new(), now_utc()
    cookie = sessions.begin("jane", now - timedelta(hours=11, minutes=59), now + timedelta(days=1))
    browser.cookies["asynchy"] = cookie
    form_key = browser.form_key("/experiments/mx/3a")
    browser.cookies["asynchy"] = sessions.begin("jane", now - timedelta(hours=12), now)
    assert browser.get("/history").headers["location"] == "/login?next=/history"
    referer = {"Referer": f"{browser.address}/experiments/mx/3a"}
    form = {"form_key": form_key, "epn": "3a", "project": "ny79"}
    answer = browser.post("/actions/map", form, **referer)
    assert answer.status == 401
    assert b"Nothing was done: your session has ended." in answer.data
    assert b'name="next" value="/experiments/mx/3a"' in answer.data
    assert '"3"' not in site.home.config.read_text()
    elsewhere = browser.post("/actions/map", form, Referer="http://evil.example/x")
    assert b'name="next" value="/"' in elsewhere.data


def test_a_form_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    form = {"form_key": site.browser.form_key(), "reason": "x" * 20_000}
    answer = site.browser.post("/actions/pause", form)
    assert answer.status == 403 and b"the form is too large" in answer.data


def test_a_catalogue_that_is_gone_is_named_and_no_token_counts_as_wrong(site: Site) -> None:
    home, bearer = site.home, {"Authorization": f"Bearer {site.token}"}
    files = sorted(home.place.glob("catalogue.db*"), reverse=True)
    gone = home.place / "gone"
    gone.mkdir()
    for file in files:
        file.rename(gone / file.name)
    said = f"there is no catalogue at {home.catalogue_path}".encode()
    try:
        answers = [site.browser.get(path) for path in PAGES]
        answers += [site.new().get(path, **bearer) for path in ("/metrics", "/api/v1/status")]
        answers += [site.new().post("/login", {"token": token}) for token in [site.token, "x"] * 6]
        assert [(one.status, said in one.data) for one in answers] == [(503, True)] * len(answers)
    finally:
        for file in reversed(files):
            (gone / file.name).rename(file)
    assert site.new().post("/login", {"token": "wrong"}).status == 403, "not 429"
    assert site.browser.get("/").status == 200
