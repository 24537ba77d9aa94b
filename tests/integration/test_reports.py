"""asynchy report: what is at risk at the facility, and what may be deleted there."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from typing import Any

from simulator.experiments import mx_experiment
from simulator.scratch import remove
from tests.conftest import Group, Home, give
from tests.integration.test_verify import flip


def measured(home: Home, epn: str, days: float | None) -> None:
    """An experiment at the facility, with a visit that ended so many days ago."""
    mx_experiment(home.facility.experiment("mx", epn), epn, frames=2, frame_bytes=3000)
    give(home.facility.data)
    if days is not None:
        home.visit(epn, ended=24 * days)


def report(home: Home, *arguments: str) -> Any:
    return home.program.run("asynchy", "--config", home.config, "report", *arguments)


def rows(home: Home, *arguments: str, code: int = 1) -> dict[str, dict[str, Any]]:
    run = report(home, *arguments, "--format", "json")
    assert run.returncode == code, run.stdout + run.stderr
    return {row["epn"]: row for row in json.loads(run.stdout)}


def test_from_the_visit_to_the_day_when_it_may_be_deleted(home: Home) -> None:
    home.configure(retention_days={"mx": 30}, accept_left_out=True)
    nothing = report(home, "at-risk")
    assert nothing.returncode == 5 and "knows no experiments" in nothing.stderr
    measured(home, "12282a", 20.5)
    measured(home, "99999z", 28.5)
    measured(home, "77777c", None)
    assert home.once().returncode == 1  # two belong to nobody

    # Only the visit is known of what belongs to nobody.
    found = rows(home, "at-risk", "--within", "0")
    assert found.keys() == {"77777c"}  # it is not known how many days are left
    found = rows(home, "at-risk", "--within", "1")
    assert found.keys() == {"99999z", "77777c"}
    nobodys = found["99999z"]
    assert (nobodys["days_left"], nobodys["bytes"], nobodys["why"]) == (
        1,
        None,
        "belongs to no project",
    )
    assert (nobodys["principal"], nobodys["project"]) == ("Ada Lovelace", None)
    table = report(home, "at-risk").stdout
    assert "2 experiments, unknown size for 2." in table
    assert "never walked" in table and "12282a" not in table

    # A walk finds more, and how much; more proof is asked for than `verify` does.
    assert home.program.run("asynchy", "--config", home.config, "walk").returncode == 0
    found = rows(home, "at-risk", "--level", "source")
    assert found.keys() == {"77777c", "99999z", "12282a"}
    assert found["77777c"]["counted_from"] == "latest file" and found["77777c"]["days_left"] < 0
    assert found["99999z"]["bytes"] > 3000
    assert (found["12282a"]["why"], found["12282a"]["days_left"]) == (
        "complete, proven by size alone",
        9,
    )
    (first, *_) = list(
        csv.DictReader(io.StringIO(report(home, "at-risk", "--format", "csv").stdout))
    )
    assert first["epn"] == "77777c"
    assert " past" in report(home, "at-risk").stdout

    # What may be deleted there: nothing that is proven by size and time alone.
    assert not any(row["may_be_deleted"] for row in rows(home, "reconcile", code=0).values())
    assert home.program.run("asynchy", "--config", home.config, "verify").returncode == 0
    both = rows(home, "reconcile", code=0)
    ours = both["12282a"]
    assert [epn for epn, row in both.items() if row["may_be_deleted"]] == ["12282a"]
    assert (ours["proven_by"], ours["proven_files"]) == ("sha256sum at the facility", ours["files"])
    assert both["99999z"]["why"] == "belongs to no project"
    shown = report(home, "reconcile").stdout
    assert "yes: " in shown and "1 of 3 experiments may be deleted at the facility" in shown
    assert "when it was last looked at; `asynchy audit` looks again" in shown

    # A file that the catalogue holds for less than proven is found by itself.
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        db.execute("UPDATE held SET level = 1 WHERE path = (SELECT min(path) FROM held)")
        db.commit()
    assert rows(home, "reconcile", "12282a", code=0)["12282a"]["why"] == (
        "1 file there not at home, or not so proven"
    )
    assert rows(home, "reconcile", "12282a", "--level", "size", code=0)["12282a"]["may_be_deleted"]

    # Damage at home, something new there, a further visit: each stands against it.
    frame = home.copy("12282a") / "frames/ada/lysozyme 1/lyso_1_0001.cbf"
    flip(frame)
    assert home.program.run("asynchy", "--config", home.config, "audit").returncode == 1
    assert rows(home, "at-risk")["12282a"]["why"] == "1 file damaged at home"
    assert rows(home, "reconcile", code=0)["12282a"]["why"] == "1 file damaged at home"
    assert home.program.run("asynchy", "--config", home.config, "verify").returncode == 0
    assert rows(home, "reconcile", code=0)["12282a"]["may_be_deleted"]
    (home.facility.data / "mx" / "12282a" / "late.log").write_text("late")
    give(home.facility.data)
    assert home.program.run("asynchy", "--config", home.config, "walk").returncode == 0
    assert rows(home, "at-risk")["12282a"]["why"].startswith("changes were seen at the facility")
    assert not rows(home, "reconcile", code=0)["12282a"]["may_be_deleted"]

    # What is gone there and never came home is told all the same.
    remove(home.facility.data / "mx" / "77777c")
    assert home.program.run("asynchy", "--config", home.config, "walk").returncode == 0
    gone = rows(home, "at-risk")["77777c"]
    assert gone["why"].startswith("gone from the facility since ") and gone["kept_until"] is None
    assert "Gone from the facility; local copy incomplete: 1" in report(home, "at-risk").stdout
    assert report(home, "reconcile", "11111a").returncode == 5


def test_a_visit_that_is_moved_or_called_off_counts_as_it_is_now(home: Home) -> None:
    home.configure(retention_days=30)
    (home.facility.data / "mx").mkdir()
    give(home.facility.data)
    stays = home.visit("99998a", ended=24 * 5)
    moved = home.visit("99999z", ended=24 * 20)
    assert home.once().returncode == 1
    assert rows(home, "at-risk").keys() == {"99998a", "99999z"}
    home.facility.portal.clear_visits()
    home.facility.portal.add_raw_visit(
        23, {**stays, "end_time": moved["end_time"], "start_time": moved["start_time"]}
    )
    assert home.mxsync().returncode == 1  # a look alone stores nothing
    assert rows(home, "at-risk")["99998a"]["days_left"] == 24
    assert home.once().returncode == 1
    found = rows(home, "at-risk")
    assert found.keys() == {"99998a"} and found["99998a"]["days_left"] == 9


def test_without_retention_nobody_knows_how_long_and_it_says_so(home: Home) -> None:
    measured(home, "99999z", 3)
    home.visit("12282a", ended=24)  # without data
    (home.place / "ignore.yml").write_text("previouslySynched: [12282a]\n")
    give(home.place)
    assert home.once().returncode == 1  # 99999z belongs to nobody
    found = rows(home, "at-risk", "--within", "5")["99999z"]
    assert (found["days_left"], found["retention_days"], found["kept_until"]) == (None, None, None)
    shown = report(home, "at-risk").stdout
    assert "no retention-days for mx: 1" in shown
    assert "original's database (--all): 1\n  12282a (mx)" in shown
    assert "12282a" in rows(home, "at-risk", "--all")
    (home.place / "config.yml").write_text(
        (home.place / "config.yml").read_text() + "retention-days: {mx: soon}\n"
    )
    wrong = report(home, "at-risk")
    assert wrong.returncode == 3 and "a number of days" in wrong.stderr


def test_a_group_without_a_portal_has_reports_too(group: Group) -> None:
    group.experiment("12282a")
    group.configure(**{"retention-days": 90000, "accept-left-out": "true"})
    assert group.walk().returncode == 0
    run = group.asynchy("report", "at-risk", "--format", "json")
    (row,) = json.loads(run.stdout)
    assert run.returncode == 1
    assert (row["why"], row["project"], row["counted_from"]) == (
        "never fetched",
        None,
        "latest file",
    )
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.asynchy("sync", "--dest", vault).returncode == 0
    assert group.asynchy("report", "at-risk").returncode == 0
    assert group.asynchy("verify").returncode == 0
    (row,) = json.loads(group.asynchy("report", "reconcile", "--format", "json").stdout)
    assert (
        row["may_be_deleted"]
        and "; no visit is known; left out, and accepted: 2 dot files or folders" in row["why"]
    ), row
