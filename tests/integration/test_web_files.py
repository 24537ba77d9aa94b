"""The pages of an experiment's files, and what is shown of very many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import experiments, files
from simulator.scratch import new_folder, remove
from tests.conftest import Program, give, wait_until
from tests.tools.dashboard import Browser, MadeHome

MANY = 20_001
ODD = b"<i>odd\xff&in=x #%41/one"


class Site:
    def __init__(self, home: MadeHome, browser: Browser, token: str) -> None:
        self.home, self.browser, self.token = home, browser, token

    def api(self, link: str) -> Any:
        return self.browser.api(link.removeprefix("/api/v1/"), self.token)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    home.bring("1a", paths=(b"one", b"raw/a/two", b"raw/three", ODD))
    many = home.experiment("2a", paths=(b"frames/0",))
    rows = [{"experiment_id": many, "path": b"frames/%d" % number, "size": 10, "modified": 0,
             "since": 1, "seen": 1} for number in range(1, MANY)]  # fmt: skip
    with Database.open(home.catalogue_path).transaction() as db:
        db.execute(files.insert(), rows)
        db.execute(experiments.update().where(experiments.c.id == many).values(files=MANY))
    give(folder)
    token = home.token("lea")
    with home.serving() as browser:
        yield Site(home, browser.log_in(token), token)
    remove(folder)


def test_folders_lead_to_their_files_whatever_their_names(site: Site) -> None:
    text = site.browser.text("/experiments/mx/1a/files")
    assert "raw/" in text and "one 10 B" in text and "<i>odd\\xff&in=x #%41/" in text
    page = site.browser.get("/experiments/mx/1a").data.decode()
    link = page.partition("files?in=%3Ci")[2].partition('"')[0]
    inside = site.browser.text(f"/experiments/mx/1a/files?in=%3Ci{link}")
    assert "one 10 B 1970-01-01 00:00 UTC yes" in inside
    assert "two 10 B" in site.browser.text("/experiments/mx/1a/files?in=raw/a")


def test_programs_follow_links_to_every_file(site: Site) -> None:
    found = []
    links = ["/api/v1/experiments/mx/1a/files"]
    while links:
        answer = site.api(links.pop())
        found += [answer["folder"] + one["name"] for one in answer["files"] if one["at_home"]]
        links += [one["link"] for one in answer["folders"]]
        links += [answer["next"]] if answer["next"] else []
    assert sorted(found) == sorted(["one", "raw/a/two", "raw/three", "<i>odd\\xff&in=x #%41/one"])


def test_very_many_files_are_added_up_apart_and_shown_once_that_is_done(site: Site) -> None:
    wait_until(lambda: f"frames {MANY:,} " in site.browser.text("/experiments/mx/2a"))
    first = site.api("experiments/mx/2a/files?in=frames")
    assert len(first["files"]) == 200 and first["next"]
    second = site.api(first["next"])
    assert second["files"][0]["name"] not in [one["name"] for one in first["files"]]
    assert second["files"][0]["at_home"] is None, "there is no copy"


@pytest.mark.parametrize(
    ("link", "status"),
    [("/experiments/mx/1a/files?in=nosuch", 404), ("/experiments/mx/99z/files", 404),
     ("/experiments/mx/1a/files?in=" + "x" * 9000, 400),
     ("/experiments/mx/1a/files?in=%00%ff&from=%zz", 404)],
)  # fmt: skip
def test_a_link_to_nothing_is_refused(site: Site, link: str, status: int) -> None:
    assert site.browser.get(link).status == status
    headers = {"Authorization": f"Bearer {site.token}"}
    answer = site.browser.get(f"/api/v1{link}", **headers)
    assert (answer.status, "error" in json.loads(answer.data)) == (status, True)
