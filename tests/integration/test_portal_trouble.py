"""The portal in trouble: a clear word, the others served, nothing marked complete."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from asynchy.errors import PortalUnavailable, Stopped
from asynchy.facility.portal import Credentials, Portal
from asynchy.facility.portal.http_client import Http
from asynchy.model.cancellation import Stop
from asynchy.model.visit import Visit
from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, mx_experiment
from simulator.facility import Facility
from simulator.portal.handle import OMIT, PortalHandle
from simulator.proxy import HttpProxy
from tests.conftest import (
    SOON,
    USER,
    Home,
    Program,
    comes_in_part,
    give,
    interrupt,
    wait_until,
)
from tests.tools.dripping import dripping

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": "html"}, "not JSON"),
    ({"name": "truncated"}, "broke off its answer"),
    ({"name": "cut"}, "not JSON"),
    ({"name": "malformed"}, "not JSON"),
    ({"name": "wrong_shape"}, "has no list of visits"),
    ({"name": "status", "code": 500}, "answers HTTP 500"),
    ({"name": "status", "code": 404}, "answers HTTP 404"),
    ({"name": "reset"}, "broke off its answer"),
    ({"name": "paging"}, "hints at paging (next: /page/2)"),
    ({"name": "redirect"}, "redirects to http://elsewhere.example/: http"),
    ({"name": "huge"}, "larger than"),
]
NO_END = 60.0
"""Seconds that nothing here may take, on the slowest machine."""
SLOW: list[tuple[dict[str, Any], str]] = [
    ({"name": "stall", "seconds": 60}, "did not answer in time"),
    *(
        ({"name": "drip", "where": where}, "took too long")
        for where in ("status line", "headers", "chunks", "body")
    ),
]


def patience(fault: dict[str, Any]) -> dict[str, int]:
    """What is configured: where nothing is to be waited for, a busy machine may take its time."""
    return {"timeout": 2} if fault["name"] in ("stall", "drip") else {}


def fails_in_words(
    home: Home, run: subprocess.CompletedProcess[str], faults: list[tuple[dict[str, Any], str]]
) -> None:
    """Each has an equipment entry of its own, from 100 on, and a word there that fits.

    Entries that have a fault in common are in one line.
    """
    assert run.returncode == 4
    for number, (_, word) in enumerate(faults, 100):
        about = re.compile(rf"equipment (\d+, )*{number}(, \d+)*: ")
        (line,) = [line for line in run.stdout.splitlines() if about.search(line)]
        assert word in line
    assert "access_token" not in run.stdout + run.stderr
    assert "the portal could not report all running visits" in run.stdout
    assert home.ignored == ""


def fail(home: Home, faults: list[tuple[dict[str, Any], str]], **keys: Any) -> None:
    """Have an entry that is well, and one for each fault."""
    failing = range(100, 100 + len(faults))
    home.configure(equipment=[{"id": 23}, *({"id": number} for number in failing)], **keys)
    for number, (fault, _) in zip(failing, faults, strict=True):
        home.facility.portal.set_fault(**fault, equipment=number, path="visits")


def prepared(home: Home) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    home.visit("12282a", equipment=23)
    return source


def test_entries_that_fail_do_not_stop_the_others_but_nothing_is_marked_complete(
    home: Home,
) -> None:
    source = prepared(home)
    fail(home, FAULTS)
    fails_in_words(home, home.once(), FAULTS)
    assert compare_trees(source, home.copy("12282a")) == []
    assert home.status()[0]["completed"] is None
    assert home.status("12282a")[0]["history"][0]["verdict"] == "transferred"

    home.facility.portal.clear_faults()
    again = home.once()
    assert again.returncode == 0
    assert "12282a" in home.ignored
    assert home.status("12282a")[0]["history"][1]["files"] == 0


@pytest.mark.extra
def test_entries_that_answer_slowly_or_never_are_given_up(home: Home) -> None:
    prepared(home)
    fail(home, SLOW, timeout=1)  # the same for SSH: what a busy machine lists is not looked at
    fails_in_words(home, home.once(), SLOW)
    assert not home.status() or home.status()[0]["completed"] is None


def test_what_can_pass_is_tried_again(home: Home) -> None:
    prepared(home)
    home.facility.portal.set_fault("status", path="visits", code=503, times=2)
    run = home.once()
    assert run.returncode == 0
    assert re.search(r"answers HTTP 503: http\S+/23/visits; trying again in", run.stderr)


def test_retry_after_is_honoured(home: Home) -> None:
    prepared(home)
    home.facility.portal.set_fault("status", path="visits", code=429, retry_after="2", times=1)
    run = home.once()
    assert run.returncode == 0
    assert re.search(r"answers HTTP 429: \S+; trying again in 2.0 s", run.stderr)
    asked = [item for item in home.facility.portal.requests() if item.path.endswith("visits")]
    assert (asked[1].at - asked[0].at).total_seconds() >= 2


def test_bad_credentials_are_not_tried_again(home: Home) -> None:
    prepared(home)
    home.facility.portal.set_fault("refuse_credentials")
    run = home.once()
    assert run.returncode == 4
    assert "refused the credentials" in run.stderr
    tokens = [item for item in home.facility.portal.requests() if item.path.endswith("token")]
    assert len(tokens) == 1


def test_an_expired_token_is_renewed_once(home: Home) -> None:
    prepared(home)
    home.facility.portal.expire_tokens_after(1)
    run = home.once()
    assert run.returncode == 0
    tokens = [item for item in home.facility.portal.requests() if item.path.endswith("token")]
    assert len(tokens) == 2


def test_a_portal_that_is_gone_is_an_error_and_not_no_visits(home: Home) -> None:
    prepared(home)
    home.configure(base_url="http://127.0.0.1:9")
    run = home.once()
    assert run.returncode == 4
    assert "the portal cannot be reached" in run.stderr


def test_visits_that_cannot_be_read_are_named_and_the_others_served(home: Home) -> None:
    source = prepared(home)
    portal = home.facility.portal
    for epn in ("../../etc", "", "9" * 10_000, None, 1.7, "x\x1b[31m"):
        visit = home.visit("12282a")
        portal.add_raw_visit(23, {**visit, "id": f"raw {str(epn)[:9]}", "epn": epn})
    portal.add_raw_visit(23, "not a visit")
    home.visit("12283a")
    no_scientist = {**home.visit("12282a"), "id": 77, "principal_scientist": None}
    del no_scientist["proposal"]
    portal.add_raw_visit(23, no_scientist)
    run = home.once()
    assert run.returncode == 4
    assert compare_trees(source, home.copy("12282a")) == []
    assert home.ignored == ""
    assert "visit raw ../../etc: its EPN is none: ../../etc" in run.stdout
    assert "and 4 more" in run.stdout
    assert "equipment 23: visit raw 1.7: its EPN is none: 1.7" in run.stderr
    assert "an entry of the answer: not a visit: not a visit; visit raw" in run.stdout
    assert "\x1b" not in run.stderr
    assert len(run.stderr) < 5000
    assert not any(home.storage.parent.glob("etc"))


def test_an_epn_with_a_visit_of_unknown_times_is_fetched_but_not_marked_complete(
    home: Home,
) -> None:
    source = prepared(home)
    visit = {**home.visit("12282a"), "id": 99, "start_time": "2026-11-24T08:00:00"}
    home.facility.portal.add_raw_visit(23, visit)
    run = home.once()
    assert run.returncode == 4
    assert "visit 99 (12282a): its start_time is not a time with a zone" in run.stdout
    assert compare_trees(source, home.copy("12282a")) == []
    assert home.ignored == ""


ODD: list[tuple[str, Any]] = [
    ("epn", None),
    ("epn", OMIT),
    ("epn", "EPN 12282a"),
    ("epn", ["12282a"]),
    ("id", None),
    ("start_time", None),
    ("end_time", "tomorrow"),
]


@pytest.mark.parametrize(
    ("key", "value"), ODD, ids=["null", "none", "text", "list", "id", "start", "end"]
)
def test_a_running_visit_that_cannot_be_read_keeps_every_copy_from_being_complete(
    home: Home, key: str, value: Any
) -> None:
    source = prepared(home)
    running = {**home.visit("12282a", ended=-5), key: value}
    home.facility.portal.clear_visits()
    home.visit("12282a")
    told = {name: item for name, item in running.items() if item is not OMIT}
    home.facility.portal.add_raw_visit(23, told)
    run = home.once()
    assert run.returncode == 4
    assert "equipment 23: not every running visit is known" in run.stdout
    assert home.ignored == ""
    assert compare_trees(source, home.copy("12282a")) == []

    home.facility.portal.clear_visits()
    home.visit("12282a")
    assert home.once().returncode == 0
    assert "12282a" in home.ignored


@pytest.mark.parametrize("epn", [" 12282a", "12282A", "12282A\n"])
def test_a_running_visit_holds_its_epn_back_however_that_is_written(home: Home, epn: str) -> None:
    prepared(home)
    home.visit(epn, ended=-5)
    run = home.once()
    assert run.returncode == 0
    assert "a visit is running" in run.stdout
    assert home.ignored == "" and not home.copy("12282a").exists()


def test_an_epn_that_is_a_number_in_json_comes_home(home: Home) -> None:
    home.configure(epn_cap_map={"1234": "ny79"})
    source = home.facility.experiment("mx", "1234")
    mx_experiment(source, "1234", frames=2, frame_bytes=1000)
    give(source)
    home.facility.portal.add_raw_visit(23, {**home.visit("1234"), "epn": 1234})
    assert home.once().returncode == 0  # and no contradiction: both tell the same visit
    assert compare_trees(source, home.copy("1234")) == []
    assert home.status(" 1234 ")[0]["completed"] is not None


def test_two_visits_with_one_id_keep_every_copy_from_being_complete(home: Home) -> None:
    source = prepared(home)
    home.visit("12283a", ended=30)
    home.facility.portal.add_raw_visit(23, {**home.visit("8020l", ended=-5), "id": 1001})
    run = home.once()
    assert run.returncode == 4
    assert "visit 1001 is reported in 2 versions: " in run.stdout
    assert compare_trees(source, home.copy("12282a")) == []
    assert home.ignored == ""


def test_epnalert_has_a_line_about_a_visit_that_cannot_be_read(home: Home) -> None:
    prepared(home)
    home.configure(**{f"epnalert-template-{part}": OMIT for part in ("folder", "text", "html")})
    home.facility.portal.add_raw_visit(23, {**home.visit("12282a", ended=-5), "id": 99, "epn": ""})
    run = home.program.run("epnalert", "--config", home.config, "--dry-run")
    assert run.returncode == 4
    assert "equipment 23: not every running visit is known: visit 99: its EPN is none" in run.stdout


def credentials() -> Credentials:
    return Credentials(**PortalHandle().accounts[0])


def ask(home: Home, stop: Stop | None = None, days: int = 60) -> list[Visit]:
    """Ask as a program of its own does, window after window."""
    portal = Portal(home.facility.portal.url, stop=stop or Stop())
    now = datetime.now(UTC)
    return list(portal.visits(credentials(), 23, now - timedelta(days=days), now).visits)


def test_two_programs_that_end_each_others_sessions_both_get_their_answers(home: Home) -> None:
    home.visit("12282a")
    home.facility.portal.one_session_per_user(True)
    begin = threading.Barrier(2)

    def program(_number: int) -> list[Visit]:
        begin.wait()
        return ask(home)

    with ThreadPoolExecutor(2) as programs:
        answers = list(programs.map(program, range(2)))
    assert [[visit.epn.text for visit in visits] for visits in answers] == [["12282a"]] * 2


def test_a_session_that_is_ended_again_and_again_is_told_after_some_tries(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.facility.portal.set_fault("status", path="visits", code=401)
    with pytest.raises(
        PortalUnavailable, match="another program seems to log in as help@massive"
    ) as error:
        ask(home)
    assert "a portal user or client of its own" in (error.value.hint or "")
    assert caplog.text.count("trying again in") == 3
    tokens = [item for item in home.facility.portal.requests() if item.path.endswith("token")]
    assert len(tokens) == 4  # one for each try


def test_a_stop_is_heard_while_another_programs_session_is_waited_for(home: Home) -> None:
    home.facility.portal.set_fault("status", path="visits", code=401)
    stop = Stop()
    with ThreadPoolExecutor(1) as programs:
        asking = programs.submit(ask, home, stop)
        wait_until(lambda: len(home.facility.portal.requests()) >= 4)
        stop.request()
        with pytest.raises(Stopped):
            asking.result(timeout=60)


def test_equipment_that_never_had_a_visit_is_told_from_equipment_in_use(home: Home) -> None:
    home.visit("12282a", ended=24 * 200)
    portal = Portal(home.facility.portal.url, stop=Stop())
    now = datetime.now(UTC)

    def had_visits(equipment: int, days: int) -> bool:
        return portal.has_visits(credentials(), equipment, now - timedelta(days=days), now)

    assert had_visits(23, 366)
    assert not had_visits(23, 100)
    assert not had_visits(99, 366)
    home.facility.portal.add_raw_visit(99, "cannot be read")
    assert had_visits(99, 366)
    home.visit("12282a", equipment=24)
    home.facility.portal.clear_requests()
    assert had_visits(24, 366)  # the latest window is asked first
    assert len(home.facility.portal.requests()) == 1


def test_a_proxy_that_drips_its_answer_is_given_up_at_the_total_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = time.monotonic()
    with dripping(b"HTTP/1.1 2", b"0") as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy}")
        http = Http("https://portal.example", ca_bundle=None, timeout=0.5)
        with pytest.raises(PortalUnavailable, match="took too long"):
            http.request("GET", "/")
    assert 2 <= time.monotonic() - begun < NO_END


def test_a_stop_is_heard_while_the_portal_drips_its_headers(home: Home) -> None:
    prepared(home)
    home.facility.portal.set_fault("drip", path="visits", where="headers")
    with home.serving("--once") as process:
        wait_until(lambda: any(r.path.endswith("visits") for r in home.facility.portal.requests()))
        code, seconds = interrupt(process, signal.SIGTERM)
    assert (code, seconds < SOON) == (143, True)


def test_https_with_an_authority_of_ones_own_through_a_proxy(place: Path, program: Program) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = [place / name for name in ("cert.pem", "key.pem", "ca.pem")]
    certificate.cert_chain_pems[0].write_to_path(files[0])
    certificate.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    (place / "facility").mkdir()
    (place / "home").mkdir()
    give(place)
    with Facility(place / "facility", run_as=USER, tls=(files[0], files[1])) as facility:
        home = Home(place / "home", facility, program)
        prepared(home)
        assert home.config.read_text().count("https://") >= 1
        distrusted = home.once()
        assert distrusted.returncode == 4
        assert "certificate is not trusted" in distrusted.stderr
        assert "ca-bundle" in distrusted.stderr

        # Python's default context, the system's trust store, honours SSL_CERT_FILE.
        assert home.mxsync(environment={"SSL_CERT_FILE": str(files[2])}).returncode == 0
        home.configure(ca_bundle=str(files[2]))
        assert home.once().returncode == 0

        (home.place / "ignore.yml").write_text("previouslySynched: []\n")
        with HttpProxy() as proxy:
            program.environment["HTTPS_PROXY"] = proxy.url
            assert home.once().returncode == 0
            assert proxy.connections == [
                f"127.0.0.1:{facility.portal.url.rpartition(':')[2]}"
            ] * len(proxy.connections)
            assert proxy.connections
        program.environment["HTTPS_PROXY"] = "http://127.0.0.1:9"
        through_nothing = home.mxsync()
        assert through_nothing.returncode == 4
        assert "through the proxy" in through_nothing.stderr


@pytest.mark.parametrize("tunnel", [True, False])
def test_a_proxys_password_is_decoded_and_its_refusal_named(home: Home, tunnel: bool) -> None:
    prepared(home)
    name = "HTTPS_PROXY" if tunnel else "http_proxy"
    environment = home.program.environment
    with HttpProxy(login="dtn:p@ss/wörd") as proxy:
        at = proxy.url.removeprefix("http://")
        if tunnel:
            home.configure(base_url=home.facility.portal.url.replace("http://", "https://"))
        for login, said in (
            ("dtn:wrong-canary@", "refused the user or the password (HTTP 407)"),
            ("", "wants a user and password (HTTP 407)"),
        ):
            environment[name] = f"http://{login}{at}"
            run = home.mxsync()
            assert run.returncode == 4
            assert f"equipment 23: the proxy {proxy.url} {said}" in run.stderr, run.stderr
            assert "percent-encoded" in run.stdout + run.stderr
            assert "trying again" not in run.stderr  # it would lock somebody out
            assert "canary" not in run.stdout + run.stderr + home.log
        environment[name] = f"http://dtn:p%40ss%2Fw%C3%B6rd@{at}"
        run = home.mxsync()
        assert proxy.connections  # it let us through
        assert run.returncode == (4 if tunnel else 0), run.stderr  # the portal speaks no TLS


def test_an_error_of_the_portal_names_cause_and_address_without_secrets(home: Home) -> None:
    prepared(home)
    url = home.facility.portal.url
    home.facility.portal.set_fault("status", path="visits", code=503)
    run = home.mxsync()
    assert f"the portal answers HTTP 503: {url}/api/v1/equipment/23/visits\n" in run.stderr
    home.facility.portal.set_fault("refuse_credentials")
    assert f": {url}/api/v1/oauth/token (check username" in home.mxsync().stderr
    home.configure(base_url="http://127.0.0.1:9")
    run = home.mxsync()
    place = "http://127.0.0.1:9/api/v1/oauth/token"
    assert (
        f"the portal cannot be reached (Connection refused): {place} (check its address"
        in run.stderr
    )
    home.configure(base_url="http://portal.invalid")
    assert "the portal cannot be reached (" in home.mxsync().stderr


IN_THE_SERVICE: list[tuple[dict[str, Any], str | None]] = [
    ({"name": "status", "code": 500}, "answers HTTP 500"),
    ({"name": "status", "code": 401}, "refuses the token that it has just given"),
    ({"name": "status", "code": 401, "times": 1}, None),  # a new token, and all is well
    ({"name": "malformed"}, "not JSON"),
    ({"name": "reset"}, "broke off its answer"),
    ({"name": "stall", "seconds": 60}, "did not answer in time"),
    ({"name": "drip"}, "took too long"),
    ({"name": "paging"}, "hints at paging"),
    ({"name": "refuse_credentials"}, "refused the credentials"),
]
NAMES = ["500", "401", "401 once", "malformed", "reset", "stall", "drip", "paging", "credentials"]


def ends_well(home: Home, process: subprocess.Popen[str], cycles: int = 1) -> None:
    """The service has so many complete cycles behind it, and stops when told to."""
    wait_until(lambda: home.log.count("next look in 24 h") >= cycles)
    code, _ = interrupt(process, signal.SIGTERM)
    assert code == 0


@pytest.mark.extra
@pytest.mark.parametrize(("fault", "word"), IN_THE_SERVICE, ids=NAMES)
def test_a_fault_between_two_answers_of_a_cycle_of_the_service_passes(
    home: Home, fault: dict[str, Any], word: str | None
) -> None:
    """The portal answers the first entry, fails for the second, and is well again later."""
    source = prepared(home)
    home.configure(retry_minutes=0.02, equipment=[{"id": 23}, {"id": 24}], **patience(fault))
    where = {} if fault["name"] == "refuse_credentials" else {"equipment": 24, "path": "visits"}
    home.facility.portal.set_fault(**fault, **where)
    with home.serving() as process:
        wait_until(lambda: "next look in" in home.log)
        if word:
            assert word in home.log
            assert home.ignored == ""
        home.facility.portal.clear_faults()
        ends_well(home, process)
    assert "12282a" in home.ignored
    moved = [attempt["files"] for attempt in home.status("12282a")[0]["history"]]
    assert moved[0] and not any(moved[1:])  # what had come was not fetched again
    assert compare_trees(source, home.copy("12282a")) == []
    home.fetched_once(source)


@pytest.mark.extra
@pytest.mark.parametrize(("fault", "word"), IN_THE_SERVICE, ids=NAMES)
def test_a_fault_that_begins_while_a_transfer_runs_passes(
    home: Home, fault: dict[str, Any], word: str | None
) -> None:
    """One cycle ends well though the portal fails meanwhile; the next meets the fault."""
    source = prepared(home)
    big_sparse_file(source / "zz" / "z-image.sqfs", 2**27)
    give(source)
    home.configure(retry_minutes=0.02, bandwidth_limit="50 MB", **patience(fault))
    with home.serving() as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        where = {} if fault["name"] == "refuse_credentials" else {"path": "visits"}
        home.facility.portal.set_fault(**fault, **where)
        wait_until(lambda: "next look in 24 h" in home.log)
        assert "12282a" in home.ignored  # it was asked for before

        looks = home.log.count("next look in")
        home.visit("12283a")
        second = home.facility.experiment("mx", "12283a")
        mx_experiment(second, "12283a", frames=2, frame_bytes=1000)
        give(second)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: home.log.count("next look in") > looks, 100)
        if word:
            assert word in home.log
            assert "12283a" not in home.ignored
        home.facility.portal.clear_faults()
        ends_well(home, process, 2)
    assert compare_trees(second, home.copy("12283a")) == []
    moved = [attempt["files"] for attempt in home.status("12283a")[0]["history"]]
    assert moved[0] and not any(moved[1:])
    (attempt,) = home.status("12282a")[0]["history"]  # never touched again
    assert attempt["verdict"] == "complete"
    home.fetched_once(source)
