"""Every command on a catalogue in PostgreSQL, as a user calls it; with the password in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import awkward_names, mx_experiment
from tests.conftest import Home, give
from tests.tools.postgres import PASSWORD, server


@pytest.fixture
def shared(home: Home) -> Home:
    """A home whose catalogue is in PostgreSQL."""
    server().execute(f"ALTER ROLE asynchy PASSWORD '{PASSWORD}'")
    secret = home.place / "catalogue-password"
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    home.configure(
        catalogue=server().url(server().new_database(), tcp=True),
        catalogue_password={"file": "catalogue-password"},
        retention_days={"mx": 90},
    )
    for at, epn in enumerate(("12282a", "12283b")):
        folder = home.facility.experiment("mx", epn)
        mx_experiment(folder, epn, frames=4, frame_bytes=50_000)
        if not at:
            awkward_names(folder)
        give(folder)
        home.visit(epn, ended=24 + at)
    return home


def called(home: Home, *command: str, code: int = 0) -> str:
    run = home.program.run("asynchy", "--config", home.config, *command)
    said = run.stdout + run.stderr
    assert run.returncode == code, f"{command}: {said}"
    assert PASSWORD not in said
    return said


def test_a_user_brings_experiments_home_and_asks_about_them(shared: Home) -> None:
    home = shared
    source = home.facility.data / "mx" / "12282a"
    plan = home.mxsync()
    assert plan.returncode == 0, plan.stdout + plan.stderr
    first = home.once()
    assert (first.returncode, first.stderr) == (0, ""), first.stdout
    assert compare_trees(source, home.copy("12282a")) == []
    second = home.once()
    assert "Nothing to transfer." in second.stdout
    (copy,) = home.status("12282a")
    assert (copy["attempts"], copy["history"][0]["verdict"]) == (1, "complete")

    assert "ok    catalogue: postgresql://asynchy@" in called(home, "doctor", code=1)  # no mail
    called(home, "walk")
    for command in (
        ("verify", "12282a"), ("audit",), ("status",), ("report", "at-risk"), ("report", "reconcile"),
        ("report", "activity"), ("report", "forecast"), ("report", "usage"),
        ("catalogue", "stats"), ("catalogue", "export"), ("catalogue", "export", "--files"),
        ("metrics",), ("notify", "list"), ("pause",), ("resume",), ("receipt", "12282a"),
    ):  # fmt: skip
        called(home, *command)
    rows = json.loads(called(home, "catalogue", "export", "--files", "--format", "json"))
    assert len([row for row in rows if row["epn"] == "12282a"]) == copy["files"]

    for command in (("catalogue", "backup"), ("catalogue", "check"), ("catalogue", "restore")):
        assert "pg_dump" in called(home, *command, code=5)
    alert = home.program.run("epnalert", "--config", home.config)
    assert alert.returncode in {0, 6}, alert.stdout + alert.stderr
    walker = home.program.run("as-walker", "--config", home.config)
    assert walker.returncode == 0, walker.stdout + walker.stderr
    file = str(home.place / "as-walker.sqlite")
    called(home, "catalogue", "export", "--format", "sqlite-original", "--output", file)
    assert "taken" in called(home, "catalogue", "import", file)

    called(home, "copies", "forget", "12283b", "--reason", "not wanted")
    assert PASSWORD not in home.log
    assert not list(Path(home.place).glob("*.db"))


def test_a_lost_catalogue_is_named_and_made_again_from_what_is_at_home(shared: Home) -> None:
    home = shared
    first = home.once()
    assert first.returncode == 0, first.stdout + first.stderr
    home.configure(
        catalogue=server().url(server().new_database(), tcp=True),
        catalogue_password={"file": "catalogue-password"},
    )
    lost = home.once()
    assert lost.returncode == 5
    assert "is missing or empty, but" in lost.stderr.replace("\n", " ")
    called(home, "catalogue", "rebuild")
    again = home.once()
    assert (again.returncode, "At home: 2." in again.stdout) == (0, True), again.stdout
