"""What operators do, at its edges: each try is in the audit trail once, with what came of it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from simulator.scratch import new_folder, remove
from tests.conftest import Program, give, wait_until
from tests.tools.dashboard import Browser, MadeHome


class Site(NamedTuple):
    home: MadeHome
    browser: Browser
    token: str

    def trail(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self.home.catalogue_path)) as db:
            query = "SELECT action, subject, outcome FROM operator_actions ORDER BY id"
            return db.execute(query).fetchall()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    home.experiment("1a", complete=True)
    home.experiment("2a", reason="connection lost")
    home.experiment("3a")
    home.experiment("4a")
    token = home.token("jane", "operator")
    with home.serving() as browser:
        yield Site(home, browser.log_in(token), token)
    remove(folder)


@pytest.mark.parametrize(
    ("action", "form", "refused"),
    [
        ("map", {"epn": "", "project": "ny79"}, "accepted is a proposal number"),
        ("map", {"epn": "3a", "project": "../x"}, "../x"),
        ("map", {"epn": "<b>", "project": "ny79"}, "<b>"),
        ("release", {"epn": "99z", "beamline": "mx", "reason": "r"}, "99z"),
        ("release", {"epn": "nonsense", "beamline": "mx", "reason": "r"}, "is not an EPN"),
        ("release", {"epn": "2a", "beamline": "elsewhere", "reason": "r"}, "2a"),
        ("take-back", {"epn": "2a", "beamline": "mx", "reason": "r"}, "2a"),
        ("fetch-again", {"epn": "99z", "beamline": "mx"}, "99z"),
        ("fetch-again", {"epn": "2a", "place": "/elsewhere"}, "/elsewhere"),
        ("now", {}, "mxsync does not run"),
    ],
)
def test_what_is_refused_is_in_the_audit_trail_with_the_reason_and_changes_nothing(
    site: Site, action: str, form: dict[str, str], refused: str
) -> None:
    before, config = site.trail(), site.home.config.read_text()
    answer = site.browser.act(action, **form)
    assert answer.status in (403, 503), answer.data.decode()
    added = site.trail()[len(before) :]
    assert [(one[0], one[1]) for one in added] == [(action.replace("-", " "), form.get("epn", ""))]
    outcome = added[0][2]
    assert outcome.startswith("refused: ") and refused in outcome, outcome
    assert outcome.removeprefix("refused: ") in site.browser.text("/health")
    assert site.home.config.read_text() == config


@pytest.mark.parametrize("action", ["nosuch", "map%00", "MAP", ""])
def test_an_action_that_there_is_not_is_not_found_and_not_written_down(
    site: Site, action: str
) -> None:
    before = site.trail()
    assert site.browser.act(action).status in (404, 405)
    assert site.trail() == before


def test_an_action_that_is_sent_twice_is_done_once_and_written_down_twice(site: Site) -> None:
    for _ in range(2):
        assert site.browser.act("map", epn="3a", project="ny79").status == 303
    assert site.home.config.read_text().count('"3"') == 1
    assert [one[:2] for one in site.trail()[-2:]] == [("map", "3a")] * 2
    first = site.browser.act("release", epn="2a", beamline="mx", reason="test shots")
    second = site.browser.act("release", epn="2a", beamline="mx", reason="test shots")
    assert (first.status, second.status in (303, 403, 503)) == (303, True)
    assert [one[:2] for one in site.trail()[-2:]] == [("release", "2a")] * 2
    for _ in range(2):
        assert site.browser.act("resume").status == 303
    assert len({one[2] for one in site.trail()[-2:]}) == 1, "there is no pause either time"


def test_operators_who_act_at_the_same_time_are_both_in_the_audit_trail(site: Site) -> None:
    number = len(site.trail())
    browsers = [Browser(site.browser.address).log_in(site.token) for _ in range(6)]
    keys = [browser.form_key() for browser in browsers]

    def act(browser: Browser, key: str, project: str) -> None:
        form = {"form_key": key, "back": "/", "epn": "4a", "project": project}
        browser.post("/actions/map", form)

    threads = [
        threading.Thread(target=act, args=(browser, key, project))
        for browser, key, project in zip(browsers, keys, ("ny79", "kx12") * 3, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    added = site.trail()[number:]
    assert [one[:2] for one in added] == [("map", "4a")] * 6
    assert site.home.config.read_text().count('"4"') == 1
    assert site.home.asynchy("config", "check").returncode == 0
    wait_until(lambda: b"no project" not in site.browser.get("/experiments/mx/4a").data)
