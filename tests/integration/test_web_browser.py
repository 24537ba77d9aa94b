"""The dashboard in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from asynchy.catalogue.dashboard_tables import samples, transfers
from asynchy.catalogue.database import Database
from asynchy.localfs import process_identity
from asynchy.web.access import Sessions, now_utc, session_key
from simulator.experiments import mx_experiment
from simulator.facility import Facility
from simulator.scratch import new_folder, remove
from tests.conftest import Home, Program, give
from tests.tools.dashboard import NOW, Browser, MadeHome, served

pytestmark = pytest.mark.extra
PAGES = ("/", "/experiments", "/experiments/mx/1a", "/experiments/mx/1a/files", "/experiments/mx/3a",
         "/history", "/facility",
         "/health", "/actions/release?epn=1a&beamline=mx", "/nosuch")  # fmt: skip
LIMIT = 30_000
"""Milliseconds; a slow machine is no failure."""


class Site:
    def __init__(self, home: MadeHome, browser: Browser, token: str, chromium: Any) -> None:
        self.home, self.address, self.token, self.chromium = home, browser.address, token, chromium

    @contextmanager
    def page(self, **options: Any) -> Iterator[Any]:
        """A new page after a log-in; at the end, nothing may have gone wrong in it."""
        context = self.chromium.new_context(**options)
        context.set_default_timeout(LIMIT)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.address}/login")
        page.get_by_label("Token").fill(self.token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.address}/")
        page.wrong = wrong
        yield page
        context.close()
        assert [text for text in wrong if "404 (Not Found)" not in text] == []

    def transfer(self, done: int) -> None:
        """A transfer of this process is so far."""
        pid, identity = process_identity.own_process()
        with Database.open(self.home.catalogue_path).transaction() as db:
            db.execute(transfers.delete())
            db.execute(transfers.insert(), {
                "destination": "/p", "beamline": "mx", "epn": "2a", "project": "kx12",
                "host": process_identity.host(), "pid": pid, "process": identity, "since": NOW,
                "heartbeat": NOW, "bytes": 100, "done": done, "files": 4, "files_done": 1,
                "rate": 5.0, "left": 3.0, "doing": "",
            })  # fmt: skip
        give(self.home.place)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of `set-up --all`

    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: scripts/set-up --all installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(chromium: Any) -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    home.experiment("1a", complete=True, title="<img src=x onerror=document.title='hacked'>")
    home.experiment("2a", reason="connection lost")
    home.experiment("3a", title="x" * 300)
    token = home.token("jane", "operator")
    with home.serving() as browser:
        yield Site(home, browser, token, chromium)
    remove(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_each_page_fits_and_has_no_serious_barrier(site: Site, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    found: list[str] = []
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    # The policy of the pages forbids scripts in them, so also that of axe.
    with site.page(**options, bypass_csp=True) as page:
        for path in PAGES:
            page.goto(site.address + path)
            excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if excess > 0:
                found.append(f"{path}: {excess} px too wide")
            for one in Axe().run(page).response["violations"]:
                if one["impact"] in ("serious", "critical"):
                    found.append(f"{path}: {one['id']}: {one['nodes'][0]['html'][:150]}")
    assert found == []


def test_what_comes_from_outside_runs_nothing(site: Site) -> None:
    with site.page() as page:
        for path in PAGES:
            page.goto(site.address + path)
            assert "hacked" not in page.title()
            assert page.evaluate("document.querySelectorAll('main img').length") == 0


def test_a_transfer_shows_and_moves_without_a_reload(site: Site) -> None:
    with site.page() as page:
        page.evaluate("window.isTheSame = true")
        site.transfer(25)
        page.get_by_text("25 %", exact=True).first.wait_for()
        site.transfer(75)
        page.get_by_text("75 %", exact=True).first.wait_for()
        assert page.evaluate("window.isTheSame")


def arrived(site: Site, *minutes: int) -> None:
    """So many minutes ago, something arrived."""
    minute = int(time.time()) // 60 * 60
    rows = [{"seconds": 60, "at": minute - 60 * ago, "bytes": ago * 60_000_000} for ago in minutes]
    with Database.open(site.home.catalogue_path).transaction() as db:
        db.execute(samples.delete())
        db.execute(samples.insert(), rows)
    give(site.home.place)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_value_of_a_bar_shows_while_the_pointer_is_there(site: Site, scheme: str) -> None:
    arrived(site, 1, 3)
    with site.page(color_scheme=scheme) as page:
        line = page.locator("[data-part=link] [data-readout]")
        page.get_by_text("240 MB arrived; at most 3.00 MB/s.").wait_for()
        assert page.locator("[data-part=link] .scale li").all_inner_texts() == [
            "4 MB/s", "2 MB/s", "0 B/s",
        ]  # fmt: skip
        page.locator("[data-part=link] svg g", has=page.locator(".bar")).first.hover()
        assert re.fullmatch(r"\d\d:\d\d: 3.00 MB/s", line.inner_text())
        page.get_by_role("heading", name="Rate in the last hour").hover()
        assert line.inner_text() == "240 MB arrived; at most 3.00 MB/s."


def test_a_table_of_values_stays_open_while_the_page_renews_itself(site: Site) -> None:
    arrived(site, 1, 3)
    site.transfer(10)
    with site.page(bypass_csp=True) as page:  # for `wait_for_function`
        table = page.locator("[data-part=link] table")
        page.get_by_text("Table of these values").first.focus()
        page.keyboard.press("Enter")
        table.wait_for()
        page.evaluate("document.querySelector('[data-part=link] table').isOld = true")
        arrived(site, 5)
        page.wait_for_function("!document.querySelector('[data-part=link] table').isOld")
        assert table.is_visible()
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_the_values_of_a_plot_are_in_its_table_without_javascript(site: Site) -> None:
    arrived(site, 1, 3)
    with site.page(java_script_enabled=False) as page:
        assert page.get_by_text("240 MB arrived; at most 3.00 MB/s.").is_visible()
        page.get_by_text("Table of these values").first.click()
        assert page.get_by_role("cell", name="180 MB").is_visible()


def test_pages_work_without_javascript(site: Site) -> None:
    site.transfer(50)
    with site.page(java_script_enabled=False) as page:
        assert page.get_by_text("50 %", exact=True).first.is_visible()
        page.get_by_role("link", name="Experiments", exact=True).click()
        page.get_by_label("Search").fill("3a")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name="3a").click()
        assert page.get_by_role("heading", level=1).inner_text().startswith("3a")


def test_an_operator_assigns_a_project_by_keyboard_alone(site: Site) -> None:
    site.home.experiment("44a", title="Of nobody")
    with site.page() as page:
        field = page.get_by_label("Project of 44")
        field.wait_for()  # the page renews itself
        for _ in range(60):
            page.keyboard.press("Tab")
            if field.evaluate("one => one === document.activeElement"):
                break
        page.keyboard.type("kx12")
        page.keyboard.press("Enter")
        page.get_by_text("44 belongs to kx12 now.").wait_for()
    assert '"44"' in site.home.config.read_text()


def test_the_page_says_that_it_is_stale_while_the_server_is_away_and_recovers(
    site: Site, chromium: Any, place: Any
) -> None:
    home = MadeHome(place, Program(place))
    home.experiment("1a")
    token = home.token("jane")
    with home.serving() as browser:
        port = browser.address.rpartition(":")[2]
        other = Site(home, browser, token, chromium)
        context = chromium.new_context()
        context.set_default_timeout(LIMIT)
        page = context.new_page()
        page.goto(f"{other.address}/login")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("[data-live]:not(.stale)")
    page.wait_for_selector("[data-live].stale")
    home.write_config(listen=f"127.0.0.1:{port}")
    with home.serving():
        page.wait_for_selector("[data-live]:not(.stale)")
    context.close()


def test_a_session_that_ends_says_so_and_a_login_leads_back(site: Site) -> None:
    key = session_key(site.home.place / "catalogue.db.web-key")
    with site.page() as page:
        now = now_utc()
        cookie = Sessions(key).begin("jane", now, now + timedelta(seconds=12))
        page.context.add_cookies([{"name": "asynchy", "value": cookie, "url": site.address}])
        page.goto(f"{site.address}/experiments?q=3a")
        page.goto(f"{site.address}/experiments/mx/3a")
        note = page.get_by_text("This page is not kept up to date now.")
        assert not note.is_visible()
        note.wait_for()  # the events end with the session
        page.get_by_label("Project of 3").fill("ny79")  # none is suggested
        page.get_by_role("button", name="Assign").click()
        page.get_by_label("Project of 3").wait_for(state="detached")
        assert page.get_by_text("Nothing was done: your session has ended.").is_visible()
        page.get_by_label("Token").fill(site.token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{site.address}/experiments/mx/3a")
        page.wrong[:] = [text for text in page.wrong if "401 (Unauthorized)" not in text]
    assert '"3"' not in site.home.config.read_text()


def test_an_operators_day(home: Home, facility: Facility, chromium: Any) -> None:
    """An EPN of nobody is assigned in the page, comes home live, is verified; its receipt."""
    home.configure(web={"listen": "127.0.0.1:0"}, bandwidth_limit="2 MB")
    source = facility.experiment("mx", "20345b")
    mx_experiment(source, "20345b", frames=2)
    (source / "raw.h5").write_bytes(bytes(6_000_000))
    give(facility.data)
    home.visit("20345b")
    asynchy = ("asynchy", "--config", home.config)
    made = home.program.run(*asynchy, "web", "token", "add", "jane", "--role", "operator")
    with home.serving(), served(home.program, home.config) as address:
        context = chromium.new_context()
        context.set_default_timeout(LIMIT)
        page = context.new_page()
        page.goto(f"{address}/login")
        page.get_by_label("Token").fill(made.stdout.strip())
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Project of 20345").fill("ny79")
        page.get_by_role("button", name="Assign").click()
        page.get_by_text("20345 belongs to ny79 now.").wait_for()
        page.get_by_role("button", name="Begin a cycle now").click()
        page.get_by_role("progressbar").first.wait_for()
        page.get_by_role("heading", name="Nothing needs a person").wait_for()
        page.goto(f"{address}/experiments/mx/20345b")

        page.get_by_text("Complete at home").wait_for()  # the page renews itself
        verified = home.program.run(*asynchy, "verify", "20345b")
        assert verified.returncode == 0, verified.stdout + verified.stderr

        page.get_by_text("digest compared with the facility").first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download (zip)").click()
        with zipfile.ZipFile(download.value.path()) as receipt:
            manifest = receipt.read("20345b-receipt/manifest-sha256.txt")
        at_home = (home.storage / "ny79" / "20345b" / "data").rglob("*")
        assert manifest.count(b"\n") == sum(path.is_file() for path in at_home)
        page.goto(f"{address}/health")
        assert page.get_by_role("cell", name="20345 belongs to ny79 now.").is_visible()
        context.close()
