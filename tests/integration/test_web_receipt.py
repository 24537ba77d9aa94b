"""Receipts, downloaded from the dashboard."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from simulator.scratch import new_folder, remove
from tests.conftest import Program, give
from tests.tools.dashboard import Browser, MadeHome

LINK = "/experiments/mx/{}/receipt"


class Site(NamedTuple):
    home: MadeHome
    browser: Browser
    token: str


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    for epn in ("1a", "1b", "1c"):
        home.bring(epn, paths=(b"frames/one.cbf", b"odd\xff"))
    home.experiment("2a", reason="connection lost")
    token = home.token("lea")
    with home.serving() as browser:
        yield Site(home, browser.log_in(token), token)
    remove(folder)


def downloaded(site: Site, epn: str) -> dict[str, bytes]:
    answer = site.browser.get(LINK.format(epn))
    assert answer.status == 200, answer.data.decode()
    assert answer.headers["content-type"] == "application/zip"
    assert f'filename="{epn}-receipt.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        names = {name: name.removeprefix(f"{epn}-receipt/") for name in archive.namelist()}
        return {short: archive.read(name) for name, short in names.items()}


def beside(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.parent.iterdir() if path.is_file()}


def test_without_one_a_receipt_is_made_and_nothing_is_written_at_home(site: Site) -> None:
    place = site.home.storage / "ny79" / "1a" / "data"
    assert LINK.format("1a") in site.browser.get("/experiments/mx/1a").data.decode()
    files = downloaded(site, "1a")
    assert files["manifest-sha256.txt"].endswith(b"  data/frames/one.cbf\n")
    assert b"\xff" in files["names-not-utf-8.sha256"]
    crate = json.loads(files["ro-crate-metadata.json"])
    assert "Structures of things" in json.dumps(crate)
    assert beside(place) == {}


def test_the_receipt_beside_the_copy_is_given_until_something_newer_is_known(site: Site) -> None:
    made = site.home.asynchy("receipt", "1b", "--unread")
    assert made.returncode == 0, made.stderr
    place = site.home.storage / "ny79" / "1b" / "data"
    there = beside(place)
    assert downloaded(site, "1b") == there
    os.utime(place.parent / "bagit.txt", (0, 0))
    newer = downloaded(site, "1b")
    assert newer["manifest-sha256.txt"] == there["manifest-sha256.txt"]
    assert newer["bag-info.txt"] == there["bag-info.txt"]
    assert "fetch.txt" in newer and beside(place) == there


def test_a_receipt_that_would_not_be_true_is_refused_and_says_why(site: Site) -> None:
    place = site.home.storage / "ny79" / "1c" / "data"
    (place / "frames" / "one.cbf").write_bytes(b"changed")
    answer = site.browser.get(LINK.format("1c"))
    assert answer.status == 409
    assert b"frames/one.cbf is missing, or has another size or time" in answer.data
    assert b"asynchy verify 1c" in answer.data
    headers = {"Authorization": f"Bearer {site.token}"}
    answer = site.browser.get(f"/api/v1{LINK.format('2a')}", **headers)
    assert answer.status == 409
    assert json.loads(answer.data)["error"].endswith("is not complete")


def test_a_receipt_needs_a_login_and_an_experiment_that_is_known(site: Site) -> None:
    assert Browser(site.browser.address).get(LINK.format("1a")).status == 303
    assert site.browser.get(LINK.format("99z")).status == 404
    assert site.browser.get("/experiments/other/1a/receipt").status == 404
