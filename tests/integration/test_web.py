"""The dashboard, asked over HTTP as a browser and a program do."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import string
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from simulator.scratch import new_folder, remove
from tests.conftest import Program, give, wait_until
from tests.tools.dashboard import Browser, MadeHome

PAGES = ("/", "/experiments", "/experiments/mx/1a", "/experiments/mx/3a", "/history",
         "/history?by=week", "/facility", "/health")  # fmt: skip
CANARIES = {
    "title": "<script>alert('title')</script>",
    "person": '"><img src=x onerror=alert(1)>',
    "reason": "<svg/onload=alert('reason')> {{ 7191 * 7 }} \x1b[31m",
}
ODD_PATH = b"<i>odd\xff\x1b[0m/one"


class Site:
    """A dashboard that runs, and tokens for it."""

    def __init__(self, home: MadeHome, browser: Browser, reader: str, operator: str) -> None:
        self.home, self.browser = home, browser
        self.reader_token, self.operator_token = reader, operator

    def new(self) -> Browser:
        return Browser(self.browser.address)

    @property
    def reader(self) -> Browser:
        return self.new().log_in(self.reader_token)

    @property
    def operator(self) -> Browser:
        return self.new().log_in(self.operator_token)

    def actions(self) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.home.catalogue_path)) as db:
            query = "SELECT who, source, action, subject, outcome FROM operator_actions ORDER BY id"
            return db.execute(query).fetchall()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    home = MadeHome(give(folder), Program(folder))
    home.experiment("1a", title=CANARIES["title"], person=CANARIES["person"], complete=True)
    home.experiment("2a", reason=CANARIES["reason"], paths=(ODD_PATH,))
    home.experiment("3a", title="Of nobody")
    reader, operator = home.token("lea"), home.token("jane", "operator")
    with home.serving() as browser:
        yield Site(home, browser, reader, operator)
    remove(folder)


@pytest.mark.parametrize("path", [*PAGES, "/experiments.csv", "/live", "/actions/pause"])
def test_a_page_without_a_login_shows_nothing(site: Site, path: str) -> None:
    answer = site.new().get(path)
    assert answer.status in (303, 401)
    assert b"Structures" not in answer.data and b"Bragg" not in answer.data


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/experiments", "/api/v1/openapi.json"])
def test_the_api_without_a_token_answers_401(site: Site, path: str) -> None:
    answer = site.new().get(path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", [*PAGES, "/login", "/nosuch"])
def test_each_page_has_the_headers_that_keep_it_safe(site: Site, path: str) -> None:
    headers = site.reader.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_has_no_script_in_it(site: Site, path: str) -> None:
    page = site.reader.get(path).data.decode()
    assert "<script>" not in page and " style=" not in page and " onclick" not in page
    for mark in ('src="', 'href="', 'action="'):
        links = [part.partition('"')[0] for part in page.split(mark)[1:]]
        assert [link for link in links if not link.startswith(("/", "?", "#"))] == []


@pytest.mark.parametrize("path", [*PAGES, "/experiments/mx/2a"])
def test_what_comes_from_outside_is_shown_as_text(site: Site, path: str) -> None:
    page = site.reader.get(path).data
    for canary in CANARIES.values():
        assert canary.encode() not in page
    assert b"<i>odd" not in page and b"\x1b" not in page and b"50337" not in page


def test_a_title_a_name_a_path_and_an_error_are_shown_whole(site: Site) -> None:
    assert CANARIES["title"] in site.reader.text("/experiments/mx/1a")
    assert CANARIES["person"].replace('"', "") in site.reader.text("/experiments").replace('"', "")
    text = site.reader.text("/experiments/mx/2a")
    assert "alert('reason')" in text and "{{ 7191 * 7 }}" in text
    assert re.search(r"Latest attempt, \d\d h ago : failed: <svg", text)
    assert "\\xff\\x1b[0m" in text


def test_the_page_now_names_what_needs_a_person_and_that_the_service_does_not_run(
    site: Site,
) -> None:
    text = site.reader.text("/")
    assert "needs a person" in text or "need a person" in text
    assert "no project for its proposal" in text
    assert "mxsync has never run as a service" in text


def test_a_proposal_is_asked_for_once_whatever_number_of_its_experiments_waits(place: Path) -> None:
    home = MadeHome(place, Program(place))
    for epn in ("3a", "3b", "4a"):
        home.experiment(epn)
    token = home.token("jane", "operator")
    with home.serving() as browser:
        text = browser.log_in(token).text("/")
    assert (text.count("Project of 3"), text.count("Project of 4")) == (1, 1)
    assert text.count("Assigned together with the one above: proposal 3, too.") == 1


def test_every_experiment_without_a_project_has_a_suggestion_if_its_people_are_known(
    place: Path,
) -> None:
    home = MadeHome(place, Program(place))
    home.experiment("1a", person="Bragg", also=("Hodgkin",))
    for epn in ("1b", "2a", "6a"):
        home.experiment(epn, person="Franklin")
    for letter in string.ascii_lowercase:
        for proposal, person in (("3", "Bragg"), ("4", "Hodgkin"), ("5", "Perutz")):
            home.experiment(f"{proposal}{letter}", person=person)
    token = home.token("lea")
    with home.serving() as browser:
        rows = json.loads(browser.log_in(token).get("/experiments.json?state=unowned").data)
    found = {(row["proposal"], row["suggestion"], row["suggestion_reason"]) for row in rows}
    assert len(rows) == 79
    assert found == {
        (3, "ny79", "the same principal scientist as 1a, which belongs to ny79"),
        (4, "ny79", "1 of its people measured for 1a, which belongs to ny79"),
        (5, None, None),
        (6, None, "the same principal scientist has measured for kx12, ny79"),
    }


def test_the_list_is_searched_filtered_and_sorted_by_its_link(site: Site) -> None:
    def epns(link: str) -> list[str]:
        rows = json.loads(site.reader.get(f"/experiments.json?{link}").data)
        return [row["epn"] for row in rows]

    assert epns("sort=epn") == ["1a", "2a", "3a"]
    assert epns("sort=-epn") == ["3a", "2a", "1a"]
    assert epns("state=unowned") == ["3a"]
    assert epns("project=-") == ["3a"]
    assert epns("q=nobody") == ["3a"]
    assert epns("q=%25") == []
    assert epns("needs=person") == ["3a", "2a"] or epns("needs=person") == ["3a"]


@pytest.mark.parametrize(
    ("link", "said"),
    [("sort=nonsense", "sort: accepted is one of"), ("page=0", "page: accepted is a number"),
     ("page=1e9", "page: accepted"), ("per_page=501", "per_page: accepted")],
)  # fmt: skip
def test_a_link_with_nonsense_is_refused_and_says_what_is_accepted(
    site: Site, link: str, said: str
) -> None:
    answer = site.reader.get(f"/experiments?{link}")
    assert answer.status == 400
    assert said in answer.data.decode()


def test_an_unknown_experiment_is_not_found(site: Site) -> None:
    assert site.reader.get("/experiments/mx/99z").status == 404
    assert site.reader.get("/experiments/mx/..%2f").status == 404
    assert site.reader.get("/experiments/1a").headers["location"] == "/experiments/mx/1a"


def test_what_is_left_out_is_said_beside_complete(site: Site) -> None:
    site.home.experiment("1g", complete=True)
    with closing(sqlite3.connect(site.home.catalogue_path)) as db, db:
        counts = "UPDATE experiments SET dot_files = 2, symlinks = 3, special_files = 1"
        db.execute(f"{counts} WHERE epn = '1g'")
    text = "2 dot files or folders, 3 links, 1 special file"
    wait_until(lambda: text in site.reader.get("/experiments/mx/1g").data.decode())
    assert f"; left out: {text}" in site.reader.text("/experiments/mx/1g")
    assert f"left out: {text}" in site.reader.text("/experiments?q=1g")
    assert f'"{text}"' in site.reader.get("/experiments.csv?q=1g").data.decode()
    assert json.loads(site.reader.get("/experiments.json?q=1g").data)[0]["left_out"] == text
    assert "; left out: not counted" in site.reader.text("/experiments/mx/1a")


def test_csv_has_no_cell_that_a_spreadsheet_takes_for_a_formula(site: Site) -> None:
    site.home.experiment("1f", title="=HYPERLINK(1)")
    wait_until(lambda: b"1f" in site.reader.get("/experiments.csv").data)
    text = site.reader.get("/experiments.csv").data.decode()
    assert "'=HYPERLINK(1)" in text and ",=HYPERLINK" not in text


def test_csv_of_nothing_has_its_columns_all_the_same(site: Site) -> None:
    text = site.reader.get("/experiments.csv?q=nothing-like-this").data.decode()
    assert text.startswith("epn,") and text.count("\n") == 1


def test_page_of_the_api_after_the_last_one_is_refused(site: Site) -> None:
    answer = site.reader.get("/api/v1/experiments?page=99")
    assert answer.status == 404 and b"there is no page 99; the last one is 1" in answer.data


def test_many_wrong_tokens_are_refused_and_a_right_one_counts_meanwhile(
    site: Site, place: Path
) -> None:
    home = MadeHome(place, Program(place))
    token = home.token("ada")
    with home.serving() as browser:
        assert [browser.post("/login", {"token": "asy_wrong"}).status for _ in range(10)] == [
            403
        ] * 10
        answer = browser.post("/login", {"token": "asy_wrong"})
        assert answer.status == 429 and int(answer.headers["retry-after"]) > 0
        assert browser.get("/api/v1/status", Authorization="Bearer asy_wrong").status == 429
        assert browser.get("/api/v1/status", Authorization=f"Bearer {token}").status == 200
        assert browser.post("/login", {"token": token}).status == 303


def test_the_session_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(site: Site) -> None:
    answer = site.new().post("/login", {"token": site.reader_token})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert site.reader_token not in cookie


def test_a_changed_cookie_is_no_session(site: Site) -> None:
    browser = site.reader
    name, value = next(iter(browser.cookies.items()))
    body, _, signature = value.partition(".")
    for forged in (f"{body}.{'0' * 64}", f"{body}x.{signature}", "nonsense", "."):
        browser.cookies[name] = forged
        assert browser.get("/").status == 303


def test_a_log_in_leads_to_the_page_that_was_asked_for_and_to_no_other_site(site: Site) -> None:
    asked = site.new().get("/experiments?q=a")
    assert asked.headers["location"] == "/login?next=/experiments%3Fq%3Da"
    for back, leads in (("/history", "/history"), ("//evil.example", "/"), ("/\\evil", "/")):
        answer = site.new().post("/login", {"token": site.reader_token, "next": back})
        assert answer.headers["location"] == leads


def test_logging_out_ends_the_session(site: Site) -> None:
    browser = site.reader
    key = browser.form_key()
    assert browser.post("/logout", {"form_key": key}).status == 303
    assert browser.get("/").status == 303


def test_a_revoked_token_ends_its_sessions_at_once(site: Site) -> None:
    token = site.home.token("guest")
    browser = site.new().log_in(token)
    assert browser.get("/").status == 200
    assert site.home.asynchy("web", "token", "revoke", "guest").returncode == 0
    assert browser.get("/").status == 303
    assert site.new().post("/login", {"token": token}).status == 403


def test_another_host_name_is_refused(site: Site) -> None:
    assert site.reader.get("/", Host="evil.example").status == 421


def test_a_reader_cannot_act_and_the_try_is_in_the_audit_trail(site: Site) -> None:
    browser = site.reader
    before = site.actions()
    answer = browser.act("map", epn="3a", project="ny79")
    assert answer.status == 403 and b"may look, and not act" in answer.data
    assert browser.get("/actions/release?epn=3a&beamline=mx").status == 403
    assert len(site.actions()) == len(before) + 1
    assert '"3"' not in site.home.config.read_text()


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"form_key": "0" * 64}, {}),
        ({"form_key": "?"}, {"Origin": "http://evil.example"}),
        ({"form_key": "?"}, {"Sec_Fetch_Site": "cross-site"}),
    ],
)
def test_a_form_of_another_site_does_nothing(
    site: Site, form: dict[str, str], headers: dict[str, str]
) -> None:
    browser, before = site.operator, site.actions()
    if form.get("form_key") == "?":
        form = {"form_key": browser.form_key()}
    answer = browser.post("/actions/pause", {**form, "back": "/"}, **headers)
    assert answer.status == 403 and b"nothing was done" in answer.data
    assert site.actions() == before


def test_the_key_of_a_form_counts_in_its_own_session_alone(site: Site) -> None:
    key = site.operator.form_key()
    answer = site.operator.post("/actions/resume", {"form_key": key, "back": "/"})
    assert answer.status == 403


def test_an_operator_assigns_a_project_and_the_next_page_shows_it(site: Site) -> None:
    site.home.experiment("77a", title="Of nobody, too")
    browser = site.operator
    wait_until(lambda: b"77a" in browser.get("/").data)
    answer = browser.act("map", epn="77a", project="kx12")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert '"77": kx12' in site.home.config.read_text().replace('"kx12"', "kx12")
    text = browser.text("/")
    assert "77 belongs to kx12 now." in text
    assert "77 belongs to kx12 now." not in browser.text("/"), "said once"
    rows = json.loads(browser.get("/experiments.json?q=77a").data)
    assert (rows[0]["project"], rows[0]["state"]) == ("kx12", "due")
    assert site.actions()[-1] == ("jane", "127.0.0.1", "map", "77a", "77 belongs to kx12 now.")


def test_an_action_that_is_refused_is_in_the_audit_trail_too(site: Site) -> None:
    answer = site.operator.act("now")
    assert answer.status == 503 and b"mxsync does not run" in answer.data
    who, _, action, _, outcome = site.actions()[-1]
    assert (who, action, outcome) == ("jane", "now", "refused: mxsync does not run")
    assert "refused: mxsync does not run" in site.reader.text("/health")


def test_a_pause_and_its_end_are_those_of_the_commands(site: Site) -> None:
    browser = site.operator
    assert browser.act("pause", reason="disks <full>").status == 303
    assert "disks <full>" in browser.text("/")
    assert "disks <full>" in site.home.asynchy("status").stdout
    assert browser.act("resume").status == 303
    assert "paused" not in site.home.asynchy("status").stdout


def test_a_release_needs_a_reason_and_can_be_taken_back(site: Site) -> None:
    site.home.experiment("1r")
    browser = site.operator
    wait_until(lambda: browser.get("/experiments/mx/1r").status == 200)
    assert "released" not in browser.text("/experiments/mx/1r")
    assert b"No file is removed" in browser.get("/actions/release?epn=1r&beamline=mx").data
    assert browser.act("release", epn="1r", beamline="mx").status == 403
    done = browser.act("release", epn="1r", beamline="mx", reason="test shots")
    assert done.status == 303, done.data.decode()
    assert "released by jane" not in browser.text("/experiments/mx/1r")
    assert "test shots" in browser.text("/experiments/mx/1r")
    assert browser.act("take-back", epn="1r", beamline="mx", reason="needed").status == 303
    assert "due" in browser.text("/experiments/mx/1r")


def test_a_form_that_leads_to_another_site_is_refused_and_nothing_is_done(site: Site) -> None:
    browser, before = site.operator, site.actions()
    for back in ("//evil.example", "http://evil.example", "/\\evil.example"):
        answer = browser.act("pause", back=back)
        assert answer.status == 403 and b"nothing was done" in answer.data
    assert site.actions() == before


def test_the_api_answers_by_pages_with_links_and_an_etag(site: Site) -> None:
    browser = site.new()
    first = browser.api("experiments?per_page=1&sort=epn", site.reader_token)
    assert first["experiments"][0]["epn"] == "1a" and first["previous"] is None
    second = browser.api(first["next"].removeprefix("/api/v1/"), site.reader_token)
    assert second["page"] == 2 and second["experiments"][0]["epn"] != "1a"
    one = browser.api("experiments/mx/2a", site.reader_token)
    assert one["attempts"][0]["verdict"] == "failed"
    assert one["folders"][0]["name"] == "<i>odd\\xff\\x1b[0m"
    headers = {"Authorization": f"Bearer {site.reader_token}"}
    path = "/api/v1/openapi.json"
    answer = browser.get(path, **headers)
    again = browser.get(path, If_None_Match=answer.headers["etag"], **headers)
    assert (again.status, again.data) == (304, b"")


def test_the_described_api_is_the_api(site: Site) -> None:
    described = site.new().api("openapi.json", site.reader_token)
    assert described["openapi"].startswith("3.1")
    row = site.new().api("experiments", site.reader_token)["experiments"][0]
    assert described["components"]["schemas"]["Experiment"]["properties"].keys() == row.keys()
    for path in described["paths"]:
        if path.endswith("/receipt"):  # no JSON: tests/integration/test_web_receipt.py
            continue
        name = path.replace("{beamline}", "mx").replace("{epn}", "1a").removeprefix("/api/v1/")
        assert site.new().api(name, site.reader_token)


def test_a_bearer_token_sends_no_form(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.operator_token}"}
    before = site.actions()
    assert site.new().post("/actions/pause", {"form_key": ""}, **headers).status == 403
    assert site.actions() == before


def test_events_arrive_and_end_with_the_token(site: Site) -> None:
    token = site.home.token("watcher")
    browser = site.new().log_in(token)
    host, _, port = browser.address.removeprefix("http://").partition(":")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"GET /live HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        with connection.makefile("rb") as stream:
            while not (line := stream.readline()).startswith(b"data: "):
                assert line
            news = json.loads(line.removeprefix(b"data: "))
            assert "No transfer runs" in news["parts"]["running"]
            site.home.asynchy("web", "token", "revoke", "watcher")
            while line != b"0\r\n":  # the last part of the answer
                line = stream.readline()
                assert line


def test_sessions_outlive_a_restart(site: Site, place: Path) -> None:
    home = MadeHome(place, Program(place))
    token = home.token("ada")
    with home.serving() as browser:
        cookies = browser.log_in(token).cookies
    with home.serving() as again:
        again.cookies = dict(cookies)
        assert again.get("/").status == 200
    key = place / "catalogue.db.web-key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    run = home.asynchy("web")
    assert run.returncode == 5 and "other users may read the key" in run.stderr


def test_behind_a_socket_the_proxy_names_the_viewer_and_nobody_else_connects(
    place: Path, site: Site
) -> None:
    path = place / "web.sock"
    home = MadeHome(place, Program(place), listen=f"unix:{path}", operators=["jane@uni"],
                    url="https://data.uni.example", **{"user-header": "X-Remote-User"})  # fmt: skip
    home.experiment("3a")
    with home.serving() as browser:
        assert browser.address == "https://data.uni.example"
        assert path.stat().st_mode & 0o777 == 0o660

        def ask(request: str) -> bytes:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(request.encode())
                with connection.makefile("rb") as stream:
                    return stream.read()

        def get(*lines: str) -> bytes:
            head = ["GET / HTTP/1.1", "Host: data.uni.example", "Connection: close", *lines]
            return ask("\r\n".join([*head, "", ""]))

        assert get().startswith(b"HTTP/1.1 303")
        assert b"lea@uni" in get("X-Remote-User: lea@uni")
        assert b"Begin a cycle" not in get("X-Remote-User: lea@uni")
        assert b"operator" in get("X-Remote-User: jane@uni", "X-Forwarded-For: 10.1.2.3")
        assert get("X-Remote-User: a", "X-Remote-User: jane@uni").startswith(b"HTTP/1.1 303")
    assert not path.exists()


def test_the_header_of_a_proxy_is_not_taken_at_a_port(place: Path, site: Site) -> None:
    home = MadeHome(place, Program(place), **{"user-header": "X-Remote-User"})
    run = home.asynchy("web")
    assert run.returncode == 3
    assert "each user of the machine could send the header" in run.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.7:80"])
def test_an_address_of_the_network_needs_https(place: Path, site: Site, listen: str) -> None:
    home = MadeHome(place, Program(place), listen=listen)
    run = home.asynchy("web")
    assert run.returncode == 3
    assert "no token crosses the network in clear text" in run.stderr


def test_an_address_in_use_is_named(place: Path, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home = MadeHome(place, Program(place), listen=f"127.0.0.1:{taken.getsockname()[1]}")
        run = home.asynchy("web")
    assert run.returncode == 3
    assert "cannot listen at" in run.stderr and "Address already in use" in run.stderr


def test_a_broken_ignore_file_keeps_the_older_states_and_says_so(site: Site, place: Path) -> None:
    home = MadeHome(place, Program(place))
    home.experiment("1a")
    token = home.token("ada")
    with home.serving() as browser:
        browser.log_in(token)
        assert "1 experiment" in browser.text("/experiments")
        (place / "ignore.yml").write_text("[")
        give(place)
        wait_until(lambda: "no newer ones could be derived" in browser.text("/"))
        assert "1 experiment" in browser.text("/experiments")
        assert "Nothing needs a person" not in browser.text("/")


def test_a_name_is_used_once_and_tokens_are_listed_without_their_text(site: Site) -> None:
    token = site.home.token("once")
    again = site.home.asynchy("web", "token", "add", "once")
    assert again.returncode == 1 and "there is a token named once already" in again.stderr
    listed = site.home.asynchy("web", "token", "list").stdout
    assert "once" in listed and token not in listed
    assert site.home.asynchy("web", "token", "revoke", "nobody").returncode == 1
    assert site.home.asynchy("web", "token", "add", "a b").returncode == 2
    raw = site.home.catalogue_path.read_bytes()
    assert token.encode() not in raw


def test_metrics_need_a_token_and_are_those_of_the_command(site: Site, place: Path) -> None:
    assert site.new().get("/metrics").status == 401
    served = site.new().get("/metrics", Authorization=f"Bearer {site.reader_token}")
    assert served.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in served.data.decode().splitlines() if "# TYPE" in line}
    written = place / "asynchy.prom"
    run = site.home.asynchy("metrics", "--out", str(written))
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    text = written.read_text()
    assert {line.split()[2] for line in text.splitlines() if "# TYPE" in line} == names
    assert 'asynchy_experiments{state="unowned"} ' in text and "asynchy_service_up 0.0" in text
    assert [path.name for path in place.iterdir()] == ["asynchy.prom"]
    refused = site.home.asynchy("metrics", "--out", "/proc/asynchy.prom")
    assert refused.returncode == 5 and "cannot be written to /proc/asynchy.prom" in refused.stderr
