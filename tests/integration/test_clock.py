"""A wall clock that jumps under the running service, and under nothing else."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, mx_experiment
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from tests.conftest import Home, comes_in_part, give, stop_between_writes, wait_until

HOURS = 3600
NO_TEMPLATES = {f"epnalert-template-{name}": OMIT for name in ("folder", "text", "html")}


@pytest.fixture
def clock(home: Home, clock_library: str) -> dict[str, str]:
    """An environment in which `set_clock` sets the clock."""
    set_clock(home, 0)
    return {"LD_PRELOAD": clock_library, "CLOCK_OFFSET": str(home.place / "offset")}


def set_clock(home: Home, seconds: int) -> None:
    new = home.place / "offset.new"
    new.write_text(str(seconds))
    give(new)
    new.replace(home.place / "offset")


def experiment_of(home: Home, epn: str) -> Path:
    return home.facility.experiment("mx", epn)


def experiment(home: Home, epn: str, *, big: int = 0) -> None:
    source = experiment_of(home, epn)
    mx_experiment(source, epn, frames=2, frame_bytes=2000)
    if big:
        big_sparse_file(source / "zz" / "z-image.sqfs", big)
    give(source)
    home.visit(epn)


@pytest.mark.extra
@pytest.mark.parametrize("hours", [-2, 2, -24 * 365], ids=["back", "forward", "a year back"])
def test_the_next_cycle_comes_when_it_is_due_and_waits_for_the_clock(
    home: Home, clock: dict[str, str], hours: int
) -> None:
    experiment(home, "12282a")
    home.configure(sync_frequency_hours=0.0008)
    with home.serving(environment=clock) as process:
        wait_until(lambda: "12282a" in home.ignored)
        set_clock(home, hours * HOURS)
        seen = home.log.count("cycle ended")
        wait_until(lambda: home.log.count("cycle ended") >= seen + 3)
        assert f"{'behind' if hours < 0 else 'ahead of'} the portal's" in home.log
        if hours > -24:  # a visit of yesterday has ended by this clock, too
            experiment(home, "12283b")
            wait_until(
                lambda: "12283b: stays due: transferred, but not marked complete:" in home.log
            )
            assert "12283b" not in home.ignored
            set_clock(home, 0)
            wait_until(lambda: "12283b" in home.ignored)
            assert not any(a["files"] for a in home.status("12283b")[0]["history"][1:])
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert home.status("12282a")[0]["attempts"] == 1  # nothing was fetched again
    home.fetched_once(experiment_of(home, "12282a"))
    assert "Traceback" not in home.log


@pytest.mark.extra
@pytest.mark.parametrize("hours", [-2, 2], ids=["back", "forward"])
def test_it_jumps_in_mid_transfer(home: Home, clock: dict[str, str], hours: int) -> None:
    experiment(home, "12282a", big=2**28)
    home.configure(bandwidth_limit="30 MB")
    with home.serving(environment=clock) as process:
        wait_until(lambda: comes_in_part(home.copy("12282a")))
        set_clock(home, hours * HOURS)
        # It would be done before a slow machine has looked.
        stop_between_writes(process.pid, home.place / "catalogue.db")
        other = home.once()  # by the right time
        assert f"another process works on it: process {process.pid} on " in other.stdout
        assert home.status()[0]["claim"]["pid"] == process.pid
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: "next look in 24 h" in home.log)
        assert compare_trees(experiment_of(home, "12282a"), home.copy("12282a")) == []
        shown = home.program.run("asynchy", "--config", home.config, "status").stdout
        assert "mxsync runs since" in shown
        (attempt,) = home.status("12282a")[0]["history"]
        assert (attempt["verdict"], attempt["started"] < attempt["ended"]) == ("complete", True)

        # Listed by the time that was right when the cycle began: a visit after it is seen.
        set_clock(home, 0)
        (experiment_of(home, "12282a") / "late.h5").write_bytes(b"late")
        give(experiment_of(home, "12282a"))
        home.visit("12282a", ended=0)
        process.send_signal(signal.SIGHUP)
        wait_until((home.copy("12282a") / "late.h5").exists)
        wait_until(lambda: home.log.count("next look in 24 h") == 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [a["files"] for a in home.status("12282a")[0]["history"]][1:] == [1]
    home.fetched_once(experiment_of(home, "12282a"))


@pytest.mark.extra
def test_ahead_of_the_portal_nothing_is_called_complete(home: Home, clock: dict[str, str]) -> None:
    """By such a clock the visit has ended and the listing is of later than it is: data of the
    time in between would be taken for fetched."""
    experiment(home, "12282a")
    visit = home.visit("12282a", ended=-0.002)  # runs for seven seconds more
    set_clock(home, 2 * HOURS)
    run = home.once(environment=clock)
    assert run.returncode == 4
    assert "this machine's clock is 2 h 00 min ahead of the portal's" in run.stdout
    assert home.ignored == ""

    set_clock(home, 0)
    (experiment_of(home, "12282a") / "late.h5").write_bytes(b"late")
    give(experiment_of(home, "12282a"))
    wait_until(lambda: datetime.now(UTC) > datetime.fromisoformat(visit["end_time"]))
    assert home.once(environment=clock).returncode == 0
    assert compare_trees(experiment_of(home, "12282a"), home.copy("12282a")) == []
    assert home.status("12282a")[0]["history"][-1]["files"] == 1


@pytest.mark.extra
@pytest.mark.parametrize("hours", [-2, 2], ids=["behind", "ahead"])
def test_apart_from_the_portal_verify_and_forget_store_nothing(
    home: Home, clock: dict[str, str], hours: int
) -> None:
    """The next visit would be taken for fetched, or for released."""
    experiment(home, "12282a")
    assert home.once().returncode == 0
    before = home.status("12282a")
    set_clock(home, hours * HOURS)
    forget = ("copies", "forget", "12282a", "--reason", "x")
    sync = ("sync", "--dest", str(home.storage))
    for command in (("verify", "12282a"), forget, sync):
        run = home.program.run("asynchy", "--config", home.config, *command, environment=clock)
        assert run.returncode == 4
        assert "the portal's: nothing was stored" in run.stderr
    assert home.status("12282a") == before


@pytest.mark.extra
@pytest.mark.parametrize("what", ["verify", "forget"])
def test_what_was_stored_ahead_while_the_portal_did_not_answer_is_corrected_and_named(
    home: Home, clock: dict[str, str], what: str
) -> None:
    experiment(home, "12282a")
    assert home.once().returncode == 0
    set_clock(home, 400 * 24 * HOURS)
    home.configure(base_url="http://127.0.0.1:1")
    command = ["verify", "12282a"]
    if what == "forget":
        command = ["copies", "forget", "12282a", "--reason", "x"]
    run = home.program.run("asynchy", "--config", home.config, *command, environment=clock)
    assert run.returncode == 0
    assert "clock was not compared with the portal's" in run.stderr
    home.configure()
    (experiment_of(home, "12282a") / "late.h5").write_bytes(b"late")
    give(experiment_of(home, "12282a"))
    run = home.once()
    assert run.returncode == 0
    assert "is in the future: this machine's clock was wrong then" in run.stdout
    assert compare_trees(experiment_of(home, "12282a"), home.copy("12282a")) == []
    assert "clock was wrong" not in home.once().stdout


@pytest.mark.extra
@pytest.mark.parametrize("portal", ["answers", "is down"])
def test_an_entry_of_the_original_that_was_first_read_ahead_does_not_skip_a_later_visit(
    home: Home, clock: dict[str, str], portal: str
) -> None:
    experiment(home, "12282a")
    (home.place / "ignore.yml").write_text("previouslySynched:\n- 12282a\n")
    give(home.place / "ignore.yml")
    if portal == "is down":
        home.configure(base_url="http://127.0.0.1:1")
    set_clock(home, 400 * 24 * HOURS)
    assert home.once(environment=clock).returncode == 4
    home.configure()
    assert home.once().returncode == 0
    home.visit("12282a", ended=-0.0001)
    (experiment_of(home, "12282a") / "later.h5").write_bytes(b"later")
    give(experiment_of(home, "12282a"))
    wait_until(lambda: home.once().returncode == 0 and home.copy("12282a").exists())
    assert compare_trees(experiment_of(home, "12282a"), home.copy("12282a")) == []


@pytest.mark.extra
def test_ahead_of_the_portal_a_mail_says_so_and_no_answer_counts_as_whole(
    home: Home, clock: dict[str, str]
) -> None:
    """Otherwise the portal would be taken to have told all visits up to a time that is to come."""
    experiment(home, "12282a")
    with MailSink(home.place / "mails") as sink:
        home.configure(**{"epnalert-email-smtp": f"{sink.host}:{sink.port}"}, **NO_TEMPLATES)
        set_clock(home, 5 * 24 * HOURS)
        run = home.program.run("epnalert", "--config", home.config, environment=clock)
        (mail,) = sink.mails
    assert run.returncode == 4
    body = mail.get_body(("plain",))
    assert body is not None
    assert "this machine's clock is 5 d 00 h ahead of the portal's" in body.get_content()
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        assert db.execute("SELECT count(*) FROM portal_spans").fetchone() == (0,)
