"""asynchy report activity, usage and forecast, after cycles against the simulated facility."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Home
from tests.integration.test_reports import measured, report


def rows(home: Home, *arguments: str, code: int) -> list[dict[str, Any]]:
    run = report(home, *arguments, "--json")
    assert run.returncode == code, run.stdout + run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def test_what_came_home_and_what_needs_a_person_is_reported(home: Home) -> None:
    measured(home, "12282a", 2)
    measured(home, "12283a", 1)
    assert home.once().returncode == 0
    first = report(home, "activity")
    assert first.returncode == 0, first.stderr
    assert "2 experiments came home." in first.stdout
    assert "Needs a person" not in first.stdout
    assert [(one["epn"], one["became"]) for one in rows(home, "activity", code=0)] == [
        ("12282a", "came home"),
        ("12283a", "came home"),
    ]
    home.visit("77a", ended=30)
    assert home.once().returncode == 1
    unowned = report(home, "activity")
    assert unowned.returncode == 1
    assert "1 experiment belongs to no project: 77a" in unowned.stdout
    place = home.storage / "ny79" / "12282a"
    place.rename(home.storage / "elsewhere")
    moved = report(home, "activity", "--since", "1h")
    assert moved.returncode == 1
    assert "Needs a person:" in moved.stdout
    assert "12282a" in moved.stdout.split("Needs a person:")[1]


def test_a_month_or_day_without_transfers_says_so(home: Home) -> None:
    measured(home, "12282a", 1)
    assert home.once().returncode == 0
    old = report(home, "activity", "--month", "2020-02")
    assert (old.returncode, "No transfer ended." in old.stdout) == (0, True)
    assert "2020-02-01" in old.stdout and "2020-03-01" in old.stdout
    today = datetime.now(UTC).astimezone().strftime("%Y-%m")
    assert "1 experiment came home." in report(home, "activity", "--month", today).stdout
    both = report(home, "activity", "--month", today, "--since", "24h")
    assert both.returncode == 2 and "exclude each other" in both.stderr
    for option, value in (("--since", "2999-01-01"), ("--month", "2999-01")):
        future = report(home, "activity", option, value)
        assert future.returncode == 2 and f"{value} is in the future" in future.stderr
    twice = report(home, "activity", "--json", "--csv")
    assert twice.returncode == 2 and "name one of them" in twice.stderr
    wrong = report(home, "activity", "--since", "yesterday")
    assert wrong.returncode == 2 and "is neither a time such as 24h" in wrong.stderr


def test_usage_counts_what_is_at_home_and_what_is_left(home: Home) -> None:
    measured(home, "12282a", 2)
    assert home.once().returncode == 0
    measured(home, "12283a", 1)
    assert home.program.run("asynchy", "--config", home.config, "walk").returncode == 0
    assert home.mxsync().returncode == 0
    home.visit("12283a", ended=1)
    (by_project,) = rows(home, "usage", code=0)
    assert (by_project["name"], by_project["experiments"], by_project["complete"]) == ("ny79", 2, 1)
    assert by_project["bytes"] > 3000
    year = str(datetime.now(UTC).astimezone().year)
    text = report(home, "usage", "--by", "year", "--csv").stdout
    assert year in [one["name"] for one in csv.DictReader(io.StringIO(text))]
    (person, *_) = [one["name"] for one in rows(home, "usage", "--by", "person", code=0)]
    assert person == "Ada Lovelace"
    assert "in all" in report(home, "usage", "--by", "beamline").stdout
    (home.storage / "ny79" / "12282a").rename(home.storage / "elsewhere")
    (missing,) = rows(home, "usage", code=0)
    assert (missing["complete"], missing["bytes"]) == (0, 0)


def test_a_forecast_says_when_it_is_done_and_what_comes_too_late(home: Home) -> None:
    home.configure(retention_days={"mx": 20})
    measured(home, "12282a", 3)
    nothing = report(home, "forecast")
    assert nothing.returncode == 5  # nothing is known yet
    assert home.once().returncode == 0
    quiet = report(home, "forecast")
    assert quiet.returncode == 0, quiet.stderr
    assert "Nothing is due." in quiet.stdout
    measured(home, "12283a", 25)
    home.facility.stop_sshd()
    assert home.once().returncode == 4
    failed = report(home, "activity", "--since", "1h").stdout
    assert "12283a" not in failed.split("Needs a person")[0]  # nothing was tried for it
    late = report(home, "forecast")
    assert late.returncode == 1, late.stdout
    assert "1 experiment is due" in late.stdout
    assert "with an assumed size" in late.stdout
    assert "The facility may delete before it is at home:" in late.stdout
    (one,) = rows(home, "forecast", code=1)
    assert (one["epn"], one["late"], one["listed"]) == ("12283a", True, False)
    assert datetime.fromisoformat(one["home"]) < datetime.now(UTC) + timedelta(hours=1)
